//! Parts of an image's document that its config and its manifest determine.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::documents::image::EmptyImageConfig;
use crate::error::{Error, Result};
use crate::go_json::field;
use crate::image::manifest::{ManifestDocument, media};

/// Returns media type and annotations of a manifest.
pub(super) fn manifest_facts_of(bytes: &[u8]) -> Result<(String, BTreeMap<String, String>)> {
    match ManifestDocument::parse(bytes, None)? {
        ManifestDocument::Manifest(manifest) => {
            let media_type = manifest.media_type.unwrap_or_else(|| media::OCI_MANIFEST.to_owned());
            Ok((media_type, manifest.annotations))
        }
        ManifestDocument::Index(_) => Err(Error::new("an index, not the manifest of an image")),
    }
}

/// Returns the `config` object of an image's config, with docker's empty values for missing settings. A null counts as
/// missing.
pub(super) fn run_config(config: &Value) -> Result<Map<String, Value>> {
    let empty = serde_json::to_value(EmptyImageConfig::default()).map_err(Error::new)?;
    let settings = field(config, "config").and_then(Value::as_object).into_iter().flatten();
    let settings = settings.filter(|(_, value)| !value.is_null());
    let mut fields = empty.as_object().cloned().unwrap_or_default();
    let names: Vec<String> = fields.keys().cloned().collect();
    // A key that differs from a field's name in case alone is that field's, unless the config has the name itself too.
    let has = |name: &str| field(config, "config").and_then(|all| all.get(name)).is_some();
    for (key, value) in settings {
        let name = names.iter().find(|name| name.eq_ignore_ascii_case(key)).unwrap_or(key);
        if name == key || !has(name) {
            fields.insert(name.clone(), value.clone());
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_missing_in_a_config_are_empty_and_the_others_stay() {
        let config =
            json!({"config": {"User": "5", "Cmd": null, "Healthcheck": {"Test": ["NONE"]}}});
        let fields = run_config(&config).unwrap();
        assert_eq!(fields["User"], "5");
        assert_eq!(fields["Cmd"], json!([]));
        assert_eq!(fields["Labels"], json!({}));
        assert_eq!(fields["Healthcheck"]["Test"], json!(["NONE"]));
        assert_eq!(run_config(&json!({})).unwrap()["WorkingDir"], "");
    }
}
