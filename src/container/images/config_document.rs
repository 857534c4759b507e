//! Parts of an image's document that its config and its manifest determine.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::documents::graph_driver::GraphDriver;
use crate::documents::image::{EmptyImageConfig, ImageDocument, ImageMetadata, RootFsDocument};
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

/// Returns the document of an image with the fields that its config determines; the names, the platform, the size, the
/// layers and the manifest's facts are empty. `id` and `digest`: of config and manifest. `graph_driver`: its files.
pub(super) fn document(
    config: &Value,
    id: Digest,
    digest: Digest,
    graph_driver: GraphDriver,
) -> Result<ImageDocument> {
    let text = |value: &Value, name: &str| {
        field(value, name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let history = field(config, "history").filter(|steps| !steps.is_null());
    let last = history.and_then(Value::as_array).and_then(|steps| steps.last());
    let run_config = run_config(config)?;
    Ok(ImageDocument {
        id,
        digest,
        graph_driver,
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        parent: String::new(),
        comment: last.map(|step| text(step, "comment")).unwrap_or_default(),
        created: String::new(),
        version: text(config, "docker_version"),
        docker_version: text(config, "docker_version"),
        author: text(config, "author"),
        labels: run_config["Labels"].clone(),
        user: run_config["User"].clone(),
        healthcheck: run_config["Healthcheck"].clone(),
        config: run_config,
        architecture: String::new(),
        variant: String::new(),
        os: String::new(),
        os_version: text(config, "os.version"),
        size: 0,
        virtual_size: 0,
        root_fs: RootFsDocument { r#type: "layers", layers: Vec::new() },
        metadata: ImageMetadata { last_tag_time: String::new() },
        manifest_type: String::new(),
        annotations: BTreeMap::new(),
        names_history: Vec::new(),
        history: history.cloned().unwrap_or_else(|| Value::Array(Vec::new())),
    })
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
