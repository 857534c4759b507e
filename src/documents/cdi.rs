//! Rows of `usnea cdi list`.

use serde::Serialize;

/// Device of the Container Device Interface.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CdiRow {
    pub name: String,
    pub kind: String,
    pub device: String,
    pub file: String,
}
