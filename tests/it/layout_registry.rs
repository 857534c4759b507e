//! A registry that serves the layouts of a place, and answers otherwise where a test says so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::fault_registry::{FaultRegistry, Heard, Piece, Pieces, answer, head};
use crate::stocked::Stocked;

/// `GET /v2/REPOSITORY/manifests/TAG` gives the layout `REPOSITORY` of the place (a name without a slash), whatever the
/// tag. `change` is asked for each answer: with the request and what would be sent.
pub fn serve(
    place: &Stocked,
    change: impl Fn(&Heard, Pieces) -> Pieces + Send + Sync + 'static,
) -> FaultRegistry {
    let top = place.place.path("");
    FaultRegistry::start(move |request, _| {
        let pieces = honest(&top, request);
        change(request, pieces)
    })
}

/// The head and the body of an answer with a blob: the second half of the body on its own, for who wants to wait there.
fn blob(request: &Heard, all: &[u8]) -> Pieces {
    let from = request.from().unwrap_or(0).min(all.len());
    let range = format!("bytes {from}-{}/{}", all.len().saturating_sub(1), all.len());
    let start = match request.from() {
        Some(_) => head("206 Partial Content", &[("Content-Range", &range)], all.len() - from),
        None => head("200 OK", &[], all.len()),
    };
    let half = from.max(all.len() / 2);
    [start, all[from..half].to_vec(), all[half..].to_vec()].map(Piece::Send).into()
}

fn honest(top: &std::path::Path, request: &Heard) -> Pieces {
    let words: Vec<&str> = request.path.split('/').collect();
    let blobs = |layout: &str| top.join(layout).join("blobs/sha256");
    let read = |path: PathBuf| std::fs::read(path).ok();
    match words[..] {
        ["", "v2", ""] => answer("200 OK", &[], b"{}"),
        ["", "v2", layout, "manifests", which] => {
            let index = read(top.join(layout).join("index.json")).unwrap_or_default();
            let index: Value = serde_json::from_slice(&index).unwrap_or_default();
            let top = &index["manifests"][0];
            let digest = match which.contains(':') {
                true => which,
                false => top["digest"].as_str().unwrap_or_default(),
            };
            let bytes = read(blobs(layout).join(digest.trim_start_matches("sha256:")));
            match bytes.filter(|_| !digest.is_empty()) {
                Some(bytes) => {
                    let parsed: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                    let kind = parsed["mediaType"].as_str().unwrap_or_default();
                    let fields = [("Content-Type", kind), ("Docker-Content-Digest", digest)];
                    answer("200 OK", &fields, if request.method == "HEAD" { b"" } else { &bytes })
                }
                None => missing(),
            }
        }
        ["", "v2", layout, "blobs", digest] => {
            match read(blobs(layout).join(digest.trim_start_matches("sha256:"))) {
                Some(bytes) => blob(request, &bytes),
                None => missing(),
            }
        }
        _ => missing(),
    }
}

/// What says that there is nothing.
pub fn missing() -> Pieces {
    answer("404 Not Found", &[], b"{}")
}

/// How often each blob was asked for, by its hex digits.
pub fn blobs_asked(registry: &FaultRegistry) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for request in registry.heard() {
        if let Some((_, hex)) = request.path.split_once("/blobs/sha256:") {
            *all.entry(hex.to_owned()).or_default() += 1;
        }
    }
    all
}
