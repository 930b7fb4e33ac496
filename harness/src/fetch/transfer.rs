//! One file from the Hub, taken up again where it broke off.

use std::path::Path;

use ledger::Bytes;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE};
use reqwest::{StatusCode, Url};

use super::http::{Answer, Http, broken, shown};
use super::part::{Part, Wanted};
use super::patience::{Tries, Trouble, unless_stopped};
use super::{FetchError, Patience};
use crate::engines::Progress;
use crate::lock::{HubSource, Sha256Text};

/// What the Hub says of a file before it refers to where the bytes are.
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");

/// A file on its way.
struct Transfer<'a> {
    http: &'a Http,
    url: &'a Url,
    source: &'a HubSource,
    wanted: &'a Wanted,
    progress: &'a dyn Progress,
    /// Names the bytes that have arrived, where the server has a name for them.
    etag: Option<HeaderValue>,
    /// The server answers requests for the rest with something else.
    refuses_ranges: bool,
}

/// Fetches `wanted` from `url` into `folder`. What arrived before a failure stays, unless it is wrong.
pub(super) async fn transfer(
    http: &Http,
    url: &Url,
    source: &HubSource,
    wanted: &Wanted,
    folder: &Path,
    patience: Patience,
    progress: &dyn Progress,
) -> Result<Sha256Text, FetchError> {
    let mut part = Part::open(folder, wanted)?;
    let (etag, refuses_ranges) = (None, false);
    let mut transfer = Transfer { http, url, source, wanted, progress, etag, refuses_ranges };
    progress.advance(Bytes(part.length()));
    match transfer.until_whole(&mut part, Tries::new(patience)).await {
        Ok(()) => part.finish(folder, wanted),
        Err(error) => {
            part.leave(wanted)?;
            Err(error)
        }
    }
}

impl Transfer<'_> {
    async fn until_whole(&mut self, part: &mut Part, mut tries: Tries) -> Result<(), FetchError> {
        let mut most = part.length();
        while part.length() < self.wanted.bytes.0 {
            let outcome = unless_stopped(self.progress, self.go_on(part)).await?;
            // A server that always begins anew makes progress only where it comes further than before.
            if part.length() > most {
                most = part.length();
                tries.brought_something();
            }
            let trouble = match outcome {
                Ok(()) if part.length() == self.wanted.bytes.0 => break,
                Ok(()) => {
                    let why = format!("it ended after {} of {} B", part.length(), self.wanted.bytes.0);
                    self.broken(why)
                }
                Err(trouble) => trouble,
            };
            tries.wait_after(trouble, self.progress).await?;
            if self.wanted.sha256.is_none() {
                // Nothing could tell that beginning and end are of different files.
                part.clear()?;
            }
        }
        Ok(())
    }

    fn broken(&self, why: impl Into<String>) -> Trouble {
        Trouble::Broken { address: shown(self.url), why: why.into() }
    }

    /// Asks for what is missing, and writes it until it ends or breaks off.
    async fn go_on(&mut self, part: &mut Part) -> Result<(), Trouble> {
        if self.refuses_ranges {
            part.clear()?;
        }
        let begun = part.length();
        let mut headers = HeaderMap::new();
        if begun > 0 {
            headers.extend(HeaderValue::try_from(format!("bytes={begun}-")).ok().map(|range| (RANGE, range)));
            headers.extend(self.etag.clone().map(|etag| (IF_RANGE, etag)));
        }
        let mut answer = self.http.get(self.url, &headers).await?;
        self.check_announced(&answer)?;
        match (begun, answer.response.status()) {
            (_, StatusCode::RANGE_NOT_SATISFIABLE) => {
                self.refuses_ranges = true;
                return Err(self.broken("it refuses to send the rest of a file"));
            }
            (1.., StatusCode::PARTIAL_CONTENT) => self.check_range(&answer, begun)?,
            (0, StatusCode::PARTIAL_CONTENT) => {
                return Err(self.broken("it sends a part of a file where all of it was asked for"));
            }
            // All of it, whatever was asked for.
            _ => {
                part.clear()?;
                if let Some(found) = answer.response.content_length() {
                    self.check_length(found)?;
                }
            }
        }
        let etag = answer.response.headers().get(ETAG);
        self.etag = etag.filter(|etag| etag.as_bytes().starts_with(b"\"")).cloned();
        let url = answer.response.url().clone();
        while let Some(piece) = answer.response.chunk().await.map_err(|error| broken(&url, error))? {
            if self.progress.is_interrupted() {
                return Err(FetchError::Interrupted.into());
            }
            let length = part.length() + piece.len() as u64;
            if length > self.wanted.bytes.0 {
                // What came before it is of the same wrong file.
                part.clear()?;
                self.check_length(length)?;
            }
            part.append(&piece)?;
            self.progress.advance(Bytes(piece.len() as u64));
        }
        Ok(())
    }

    /// Holds what the endpoint says of the file against what is wanted, before any of it is read.
    fn check_announced(&self, answer: &Answer) -> Result<(), FetchError> {
        let said = |name: &HeaderName| answer.endpoint_headers.get(name)?.to_str().ok();
        if let Some(found) = said(&LINKED_SIZE).and_then(|size| size.parse().ok()) {
            self.check_length(found)?;
        }
        if let (Some(asked), Some(found)) = (self.source.commit(), said(&COMMIT))
            && asked.as_str() != found
        {
            return Err(FetchError::OtherCommit {
                repository: self.source.repository.clone(),
                asked: asked.as_str().to_owned(),
                found: found.to_owned(),
            });
        }
        let linked = said(&LINKED_ETAG).and_then(|etag| etag.trim_matches('"').parse::<Sha256Text>().ok());
        match (&self.wanted.sha256, linked) {
            (Some(expected), Some(found)) if *expected != found => Err(FetchError::OtherFile {
                file: self.wanted.name.to_string(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn check_length(&self, found: u64) -> Result<(), FetchError> {
        let expected = self.wanted.bytes.0;
        match found == expected {
            true => Ok(()),
            false => Err(FetchError::Length { file: self.wanted.name.to_string(), expected, found }),
        }
    }

    /// The rest must begin where the part ends, and belong to a file of the same length.
    fn check_range(&mut self, answer: &Answer, begun: u64) -> Result<(), Trouble> {
        let text = answer.response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let range = text.and_then(|text| text.strip_prefix("bytes ")?.split_once('/'));
        let first = range.and_then(|(range, _)| range.split_once('-')?.0.trim().parse::<u64>().ok());
        if let Some(whole) = range.and_then(|(_, whole)| whole.trim().parse().ok()) {
            self.check_length(whole)?;
        }
        if first != Some(begun) {
            self.refuses_ranges = true;
            return Err(
                self.broken(format!("it sends another part of the file than the one from byte {begun}"))
            );
        }
        Ok(())
    }
}
