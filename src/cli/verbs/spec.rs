//! `usnea spec`: prints the OCI configuration of a container that `run` would start.

use crate::cli::flags::launch::LaunchFlags;
use crate::cli::output::print;
use crate::container::{self, Usnea};
use crate::error::{Context, Result};

/// Arguments of `usnea spec`.
pub type Arguments = LaunchFlags;

/// Prints config.json.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let spec = container::spec(usnea, &arguments.request(usnea)?)?;
    let as_io = std::io::Error::from;
    let mut value = serde_json::to_value(&spec).map_err(as_io).context(|| "cannot write JSON")?;
    sort_capabilities(&mut value);
    let json =
        serde_json::to_string_pretty(&value).map_err(as_io).context(|| "cannot write JSON")?;
    print(&(json + "\n"))
}

/// Sorts the sets of capabilities, whose order changes from run to run: a reader and diff(1) need a stable one.
fn sort_capabilities(spec: &mut serde_json::Value) {
    let sets = spec.pointer_mut("/process/capabilities").and_then(serde_json::Value::as_object_mut);
    for set in sets
        .into_iter()
        .flat_map(|sets| sets.values_mut())
        .filter_map(serde_json::Value::as_array_mut)
    {
        set.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}
