//! Driver that stacks the layers of a root.

use std::collections::BTreeMap;

use serde::Serialize;

/// Driver that stacks the layers of a root, and their folders under docker's names; `UpperDir` is the topmost.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    pub name: &'static str,
    pub data: BTreeMap<&'static str, String>,
}
