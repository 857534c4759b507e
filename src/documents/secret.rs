//! Documents of secrets: `usnea secret inspect`, and the rows of `usnea secret ls`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

/// Document of a secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecretDocument {
    #[serde(rename = "ID")]
    pub id: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub spec: SecretSpec,
    /// Content of the secret; null unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_data: Option<String>,
}

/// Properties that a secret was created with.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecretSpec {
    pub name: String,
    pub driver: SecretDriver,
    pub labels: BTreeMap<String, String>,
}

/// Driver of a secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecretDriver {
    pub name: &'static str,
    /// Options of the driver: always empty.
    pub options: BTreeMap<String, String>,
}

/// Row of `usnea secret ls`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecretRow {
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
    pub driver: &'static str,
    /// Time since the creation, such as `2 hours ago`.
    pub created_at: String,
    /// Time since the last change of the content.
    pub updated_at: String,
    pub labels: String,
    /// Labels as a map, for `.Label "NAME"` (`text::LABELS`).
    #[serde(rename = " Labels")]
    pub label_map: BTreeMap<String, String>,
}
