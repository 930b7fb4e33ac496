//! One request, redirects included. They are followed here and not by the library, so that a token stays with the host that it is for.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, Url};

use super::patience::Trouble;
use super::{FetchError, Patience, Token};
use crate::clock::time_until;

/// A file of the Hub is one redirect away, a renamed repository one more.
const MAX_REDIRECTS: usize = 5;

/// Asks an endpoint, and whoever it refers to.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    token: Option<Token>,
    endpoint: Url,
}

/// An answer, and what the endpoint itself said before it referred to someone else.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    /// Headers of the endpoint, from its first answer.
    pub(super) endpoint_headers: HeaderMap,
}

impl Http {
    pub(super) fn new(endpoint: Url, token: Option<Token>, patience: Patience) -> Result<Http, FetchError> {
        let host = endpoint.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if token.is_some() && endpoint.scheme() != "https" && !is_here {
            return Err(FetchError::TokenUnprotected { address: shown(&endpoint) });
        }
        // Whoever was first decides, and it is the same for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(patience.silence)
            .read_timeout(patience.silence)
            .user_agent(concat!("sweep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| FetchError::Tls { address: shown(&endpoint), why: causes(&error) })?;
        Ok(Http { client, token, endpoint })
    }

    /// Gets `url`. Any answer that is not of the kind 2xx or `416 Range Not Satisfiable` is an error.
    pub(super) async fn get(&self, url: &Url, headers: &HeaderMap) -> Result<Answer, Trouble> {
        let address = shown(url);
        let mut at = url.clone();
        let mut endpoint_headers = None;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.client.get(at.clone()).headers(headers.clone());
            // A length or a range of compressed bytes would be one of other bytes.
            request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            let token = self.token.as_ref().filter(|_| at.origin() == self.endpoint.origin());
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, token.header());
            }
            let response = request.send().await.map_err(|error| broken(&at, error))?;
            let status = response.status();
            let own_headers = endpoint_headers.get_or_insert_with(|| response.headers().clone());
            if status.is_redirection() {
                let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
                at = self.next(&at, location)?;
                continue;
            }
            if status.is_success() || status.as_u16() == 416 {
                let endpoint_headers = std::mem::take(own_headers);
                return Ok(Answer { response, endpoint_headers });
            }
            let (address, status) = (shown(&at), status.as_u16());
            return Err(match status {
                408 | 429 | 500.. => {
                    Trouble::Busy { address, status, after: retry_after(response.headers()) }
                }
                _ => FetchError::Refused { address, status, with_token: token.is_some() }.into(),
            });
        }
        Err(FetchError::Redirect { address, why: "does so again and again".to_owned() }.into())
    }

    fn next(&self, from: &Url, location: Option<&str>) -> Result<Url, FetchError> {
        let refuse = |why: &str| FetchError::Redirect { address: shown(from), why: why.to_owned() };
        let next = location.and_then(|location| from.join(location).ok());
        let next = next.ok_or_else(|| refuse("does not say where to"))?;
        match (from.scheme(), next.scheme()) {
            (_, "https") | ("http", "http") => Ok(next),
            ("https", "http") => Err(refuse("to a connection that is not encrypted")),
            _ => Err(refuse("to an address that is neither https nor http")),
        }
    }
}

/// An address for people: without its query, which may be a signature that lets anyone in.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// A transport error about `url`.
pub(super) fn broken(url: &Url, error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    let (address, why) = (shown(url), causes(&error));
    match is_distrust(&error) {
        true => FetchError::Tls { address, why }.into(),
        false => Trouble::Broken { address, why },
    }
}

/// Whether an error comes down to a certificate that is not accepted.
fn is_distrust(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref() {
        return matches!(error, rustls::Error::InvalidCertificate(_));
    }
    // An error of the system holds another one without calling it its cause.
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    held.is_some_and(|held| is_distrust(held)) || error.source().is_some_and(is_distrust)
}

/// An error with its causes: what failed stands in the last one.
fn causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !words.ends_with(&said) {
            words = format!("{words}: {said}");
        }
        cause = error.source();
    }
    words
}

/// How long a server wants to be left alone: seconds, or a moment.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| Some(time_until(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_when_to_come_back() {
        let after = |text: &str| {
            let headers = [(RETRY_AFTER, HeaderValue::from_str(text).expect("a header"))];
            retry_after(&headers.into_iter().collect())
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO), "it is over");
        assert!(
            after("Wed, 21 Oct 2099 07:28:00 GMT").is_some_and(|wait| wait > Duration::from_secs(86_400))
        );
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn an_address_is_shown_without_its_signature() {
        let url = Url::parse("https://cdn.example/a/b?X-Signature=secret#top").expect("an address");
        assert_eq!(shown(&url), "https://cdn.example/a/b");
    }

    #[test]
    fn a_token_needs_encryption_unless_it_stays_here() {
        let made = |endpoint: &str| {
            let url = Url::parse(endpoint).expect("an address");
            Http::new(url, Token::new("secret"), Patience::default())
        };
        for endpoint in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
            assert!(made(endpoint).is_ok(), "{endpoint}");
        }
        let error = made("http://mirror.example").expect_err("everyone could read it");
        assert!(matches!(error, FetchError::TokenUnprotected { .. }), "{error}");
    }

    #[test]
    fn a_certificate_that_is_not_accepted_is_no_passing_trouble() {
        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = std::io::Error::other(std::io::Error::other(refused));
        assert!(is_distrust(&wrapped));
        assert!(!is_distrust(&std::io::Error::other(rustls::Error::HandshakeNotComplete)));
        assert!(!is_distrust(&std::io::Error::other("reset")));
    }

    #[test]
    fn encryption_is_never_given_up_on_the_way() {
        let endpoint = Url::parse("http://127.0.0.1:1").expect("an address");
        let http = Http::new(endpoint, None, Patience::default()).expect("a client");
        let from = Url::parse("https://hub.example/a/b").expect("an address");
        let next = |location| http.next(&from, location).map(|url| url.to_string()).ok();
        assert_eq!(next(Some("/c")), Some("https://hub.example/c".to_owned()));
        assert_eq!(next(Some("https://cdn.example/x?y")), Some("https://cdn.example/x?y".to_owned()));
        for location in [Some("http://hub.example/a"), Some("file:///etc/passwd"), None] {
            assert_eq!(next(location), None, "{location:?}");
        }
    }
}
