//! Documents of `usnea diff`.

use serde::Serialize;

use crate::image::diff::{Change, ChangeKind};

/// Paths by the kind of their change; a kind without a path is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChangesDocument {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<String>,
}

impl From<&[Change]> for ChangesDocument {
    fn from(changes: &[Change]) -> Self {
        let mut document = Self::default();
        for change in changes {
            let paths = match change.kind {
                ChangeKind::Added => &mut document.added,
                ChangeKind::Changed => &mut document.changed,
                ChangeKind::Deleted => &mut document.deleted,
            };
            paths.push(change.path.to_string_lossy().into_owned());
        }
        document
    }
}

/// Changed path, for templates.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChangeRow {
    /// `A`, `C` or `D`.
    pub kind: String,
    pub path: String,
}

impl From<&Change> for ChangeRow {
    fn from(change: &Change) -> Self {
        Self { kind: change.kind.to_string(), path: change.path.to_string_lossy().into_owned() }
    }
}
