//! Which files a repository has, and where they are.

use ledger::Bytes;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::FetchError;
use super::http::{Http, broken};
use super::part::Wanted;
use super::patience::Trouble;
use crate::lock::{Commit, FileName, HubSource};

/// No list of a repository's files is longer.
const MAX_LIST_BYTES: usize = 16 << 20;

/// What the Hub says of a repository at a revision.
#[derive(Debug, Deserialize)]
struct ModelInfo {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<LargeFile>,
    #[serde(rename = "blobId")]
    blob: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LargeFile {
    sha256: String,
}

/// The commit behind a revision, and the files of it that are needed.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) commit: Commit,
    pub(super) files: Vec<Wanted>,
}

/// `endpoint` with `parts` behind it, each encoded.
fn address(endpoint: &Url, parts: &[&str]) -> Url {
    let mut url = endpoint.clone();
    // An endpoint is http or https, and such an address can have a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
    url
}

/// The address of a file.
pub(super) fn file_address(endpoint: &Url, source: &HubSource, name: &FileName) -> Url {
    let mut parts: Vec<&str> = source.repository.split('/').collect();
    parts.extend(["resolve", &source.revision, name.as_str()]);
    address(endpoint, &parts)
}

/// Asks which files `source` has.
pub(super) async fn list(http: &Http, endpoint: &Url, source: &HubSource) -> Result<Listing, Trouble> {
    let mut parts = vec!["api", "models"];
    parts.extend(source.repository.split('/'));
    parts.extend(["revision", &source.revision]);
    let mut url = address(endpoint, &parts);
    url.set_query(Some("blobs=true"));
    let mut answer = http.get(&url, &HeaderMap::new()).await?;
    let unusable = |why: String| FetchError::List { repository: source.repository.clone(), why };
    let mut body = Vec::new();
    while let Some(piece) = answer.response.chunk().await.map_err(|error| broken(&url, error))? {
        if body.len() + piece.len() > MAX_LIST_BYTES {
            return Err(unusable(format!("it has more than {} MiB", MAX_LIST_BYTES >> 20)).into());
        }
        body.extend_from_slice(&piece);
    }
    let info = serde_json::from_slice(&body).map_err(|error| unusable(error.to_string()))?;
    Ok(listing(source, info)?)
}

fn listing(source: &HubSource, info: ModelInfo) -> Result<Listing, FetchError> {
    let unusable = |why: String| FetchError::List { repository: source.repository.clone(), why };
    let commit: Commit = info.sha.parse().map_err(unusable)?;
    if let Some(asked) = source.commit().filter(|asked| *asked != commit) {
        return Err(FetchError::OtherCommit {
            repository: source.repository.clone(),
            asked: asked.as_str().to_owned(),
            found: info.sha,
        });
    }
    let mut files: Vec<Wanted> = Vec::new();
    for sibling in info.siblings {
        let name = FileName::from_listed(&sibling.rfilename)
            .map_err(|name| FetchError::UnsafeName { repository: source.repository.clone(), name })?;
        let Some(name) = name.filter(FileName::is_needed) else { continue };
        if files.iter().any(|earlier| earlier.name == name) {
            return Err(unusable(format!("{name} stands there twice")));
        }
        let size = sibling.size.ok_or_else(|| unusable(format!("it does not say how long {name} is")))?;
        let sha256 = sibling.lfs.map(|large| large.sha256.parse().map_err(unusable)).transpose()?;
        // Of a large file it is the name of what stands in its place.
        let blob = sibling.blob.filter(|_| sha256.is_none());
        let blob = blob.map(|blob| blob.parse().map_err(unusable)).transpose()?;
        files.push(Wanted { name, bytes: Bytes(size), sha256, blob });
    }
    for needed in ["config.json", ".safetensors"] {
        if !files.iter().any(|file| file.name.as_str().ends_with(needed)) {
            return Err(unusable(format!("there is no {needed} in it, so it is no checkpoint")));
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Listing { commit, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(revision: &str) -> HubSource {
        HubSource { repository: "Qwen/Qwen3-4B-AWQ".to_owned(), revision: revision.to_owned() }
    }

    #[test]
    fn a_revision_is_one_part_of_an_address() {
        let endpoint = Url::parse("https://mirror.example/hf").unwrap();
        let url = file_address(&endpoint, &source("refs/pr/1"), &"config.json".parse().unwrap());
        assert_eq!(
            url.as_str(),
            "https://mirror.example/hf/Qwen/Qwen3-4B-AWQ/resolve/refs%2Fpr%2F1/config.json"
        );
    }

    #[test]
    fn a_list_is_believed_only_where_it_makes_sense() {
        let commit = "a1".repeat(20);
        let read = |siblings: &str, revision: &str| {
            let text = format!(r#"{{"sha": "{commit}", "siblings": [{siblings}]}}"#);
            listing(&source(revision), serde_json::from_str(&text).unwrap())
        };
        let config = r#"{"rfilename": "config.json", "size": 3}"#;
        let sha256 = "b2".repeat(32);
        let weights =
            format!(r#"{{"rfilename": "model.safetensors", "size": 5, "lfs": {{"sha256": "{sha256}"}}}}"#);
        let readme = r#"{"rfilename": "README.md"}"#;
        let listing = read(&format!("{weights}, {readme}, {config}"), "main").unwrap();
        assert_eq!(listing.commit.as_str(), commit);
        let names: Vec<&str> = listing.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["config.json", "model.safetensors"]);
        assert_eq!(listing.files[0].sha256, None);
        assert_eq!(listing.files[1].sha256, sha256.parse().ok());

        let error = |siblings: &str, revision: &str| read(siblings, revision).unwrap_err();
        assert!(matches!(error(config, "main"), FetchError::List { .. }), "no weights");
        assert!(matches!(error(&weights, "main"), FetchError::List { .. }), "no configuration");
        let twice = format!("{config}, {config}, {weights}");
        assert!(error(&twice, "main").to_string().contains("twice"));
        let unsized_file = format!("{weights}, {}", config.replace("size", "length"));
        assert!(error(&unsized_file, "main").to_string().contains("how long"));
        let blob = config.replace('}', r#", "blobId": "9daeafb9864cf43055ae93beb0afd6c7d144bfa4"}"#);
        let files = read(&format!("{weights}, {blob}"), "main").unwrap().files;
        assert!(files[0].blob.is_some() && files[1].blob.is_none());
        let odd = config.replace('}', r#", "blobId": "9d"}"#);
        assert!(error(&format!("{weights}, {odd}"), "main").to_string().contains("Git blob"));
        let up = format!(r#"{config}, {weights}, {{"rfilename": "../x.json", "size": 1}}"#);
        assert!(matches!(error(&up, "main"), FetchError::UnsafeName { .. }));
        let other = error(&format!("{config}, {weights}"), &"c3".repeat(20));
        assert!(matches!(other, FetchError::OtherCommit { .. }), "{other}");
    }
}
