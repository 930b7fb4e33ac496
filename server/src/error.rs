//! Errors in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::engine::GenerateError;

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl ApiError {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into(), param: None, code }
    }

    /// A body that cannot be understood.
    pub(crate) fn malformed(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, None, message)
    }

    /// A parameter with a value that cannot be.
    pub(crate) fn invalid(param: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { param: Some(param), code: Some("invalid_value"), ..ApiError::malformed(message) }
    }

    /// A parameter that this server does not implement.
    pub(crate) fn unsupported(param: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { param: Some(param), code: Some("unsupported_parameter"), ..ApiError::malformed(message) }
    }

    /// More tokens than the model takes.
    pub(crate) fn context_length(param: &'static str, message: String) -> ApiError {
        ApiError { param: Some(param), code: Some("context_length_exceeded"), ..ApiError::malformed(message) }
    }

    /// Another model than the one that is served.
    pub(crate) fn unknown_model(asked: &str, served: &str) -> ApiError {
        let message = format!("the model `{asked}` does not exist here; this server has `{served}`");
        ApiError {
            param: Some("model"),
            ..ApiError::new(StatusCode::NOT_FOUND, Some("model_not_found"), message)
        }
    }

    pub(crate) fn unknown_route(method: &str, path: &str) -> ApiError {
        ApiError::new(
            StatusCode::NOT_FOUND,
            Some("unknown_url"),
            format!("unknown request URL: {method} {path}"),
        )
    }

    pub(crate) fn wrong_method(method: &str, path: &str) -> ApiError {
        let message = format!("{path} does not take {method}");
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_supported"), message)
    }

    pub(crate) fn body_too_large(limit: ledger::Bytes) -> ApiError {
        let message = format!("the body is larger than {limit}");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, Some("body_too_large"), message)
    }

    pub(crate) fn body_too_slow() -> ApiError {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, Some("body_timeout"), "the body did not arrive in time")
    }

    pub(crate) fn loading() -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("model_loading"), "the model is still loading")
    }

    pub(crate) fn queue_full(limit: usize) -> ApiError {
        let message = format!("{limit} requests are waiting already; try again later");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("queue_full"), message)
    }

    pub(crate) fn shutting_down() -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("shutting_down"), "the server is shutting down")
    }

    pub(crate) fn engine_panicked(message: &str) -> ApiError {
        let message = format!("the engine panicked: {message}");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Some("engine_failed"), message)
    }

    /// The JSON form.
    pub(crate) fn to_json(&self) -> String {
        let kind = if self.status.is_client_error() { "invalid_request_error" } else { "server_error" };
        let error = Fields { message: &self.message, r#type: kind, param: self.param, code: self.code };
        serde_json::to_string(&Body { error }).unwrap_or_default()
    }
}

impl From<GenerateError> for ApiError {
    fn from(error: GenerateError) -> ApiError {
        match error {
            GenerateError::Request { reason } => ApiError::malformed(reason),
            GenerateError::NoMemory { .. } => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("out_of_memory"), error.to_string())
            }
            GenerateError::Engine { .. } => {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Some("engine_failed"), error.to_string())
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
