//! Where the Hub is.

use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;

use super::FetchError;

/// The Hub, a mirror of it, or a folder that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An address that answers as the Hub does.
    Web(Url),
    /// A folder with the files of `OWNER/NAME` below `OWNER/NAME/`.
    Folder(PathBuf),
}

impl Endpoint {
    /// The variable that names another one.
    pub const VARIABLE: &str = "HF_ENDPOINT";
    /// The Hub itself.
    pub const HUB: &str = "https://huggingface.co";
}

impl FromStr for Endpoint {
    type Err = FetchError;

    fn from_str(text: &str) -> Result<Endpoint, FetchError> {
        let refuse = |why: &str| FetchError::Endpoint { why: why.to_owned() };
        let url = Url::parse(text.trim_end_matches('/')).map_err(|error| refuse(&error.to_string()))?;
        match url.scheme() {
            "file" => {
                Ok(Endpoint::Folder(url.to_file_path().map_err(|()| refuse("it names no folder here"))?))
            }
            "https" | "http" if !url.username().is_empty() || url.password().is_some() => {
                Err(refuse("it has a name or a password in it; set HF_TOKEN instead"))
            }
            "https" | "http" if url.query().is_some() || url.fragment().is_some() => {
                Err(refuse("it has a `?` or a `#`"))
            }
            "https" | "http" => Ok(Endpoint::Web(url)),
            _ => Err(refuse("it is neither https:// nor http:// nor file:///")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_or_a_folder() {
        assert_eq!(
            "file:///srv/mirror".parse::<Endpoint>().ok(),
            Some(Endpoint::Folder("/srv/mirror".into()))
        );
        for text in [Endpoint::HUB, "http://127.0.0.1:8000/", "https://mirror.example/hf"] {
            assert!(matches!(text.parse::<Endpoint>(), Ok(Endpoint::Web(_))), "{text}");
        }
        for text in ["", "huggingface.co", "ftp://a", "https://me:secret@a", "https://a?b=c"] {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains("HF_ENDPOINT") && !error.contains("secret"), "{error}");
        }
    }
}
