//! Values of Go that JSON spells in its own way.

use std::collections::BTreeMap;

use serde::Serialize;

/// Go map whose values are empty structs: a set.
pub type GoSet = BTreeMap<String, Nothing>;

/// Empty struct of Go.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Nothing {}

/// Go's zero time: the event never happened.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Go's zero time, in seconds since 1970.
pub const ZERO_SECONDS: i64 = -62_135_596_800;
