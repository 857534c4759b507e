//! `usnea image inspect`: docker's document of an image, with the fields that podman adds.

use serde_json::{Value, json};

use crate::container::stores::Stores;
use crate::error::{Context, Error, Result};
use crate::image::Reference;
use crate::image::manifest::{Document, media};
use crate::image::store::{Image, Store};

/// What a config of docker's has where nothing is said: templates find every field.
fn empty_config() -> Value {
    json!({
        "User": "",
        "ExposedPorts": {},
        "Env": [],
        "Entrypoint": [],
        "Cmd": [],
        "Volumes": {},
        "WorkingDir": "",
        "Labels": {},
        "OnBuild": [],
        "StopSignal": "",
    })
}

/// The document of the image that `text` names.
pub fn inspect(stores: &Stores, text: &str) -> Result<Value> {
    let (store, image) = super::known(stores, text)?;
    document(&store, &image).context(|| format!("image {text}"))
}

/// References as people write them, each once.
fn familiar<'a>(references: impl Iterator<Item = &'a Reference>) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for text in references.map(Reference::familiar) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

fn document(store: &Store, image: &Image) -> Result<Value> {
    let config = store.read_blob(&image.config)?;
    let config: Value = serde_json::from_slice(&config).map_err(Error::new)?;
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let diff_ids: Vec<String> =
        image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let comment = config.get("history").and_then(Value::as_array).and_then(|list| list.last());
    let comment = comment.and_then(|step| step.get("comment")?.as_str()).unwrap_or_default();
    let images = store.images()?;
    let mut records: Vec<&Image> = images.of_config(&image.config).collect();
    records.sort_by_key(|record| record.manifest != image.manifest);
    let (manifest_type, annotations) = manifest_facts(store, image)?;
    Ok(json!({
        "Id": image.config,
        "Digest": image.manifest,
        "RepoTags": familiar(records.iter().flat_map(|record| &record.names)),
        "RepoDigests": familiar(records.iter().flat_map(|record| &record.digests)),
        "Parent": "",
        "Comment": comment,
        "Created": image.created.map(|time| time.to_string()).unwrap_or_default(),
        "DockerVersion": text("docker_version"),
        "Author": text("author"),
        "Config": run_config(&config),
        "Architecture": image.platform.architecture,
        "Variant": image.platform.variant.as_deref().unwrap_or_default(),
        "Os": image.platform.os,
        "Size": image.size(),
        "VirtualSize": image.size(),
        "RootFS": {"Type": "layers", "Layers": diff_ids},
        "Metadata": {"LastTagTime": image.added.to_string()},
        "ManifestType": manifest_type,
        "Annotations": annotations,
        "NamesHistory": [],
        "History": config.get("history").cloned().unwrap_or_else(|| json!([])),
    }))
}

fn manifest_facts(store: &Store, image: &Image) -> Result<(String, Value)> {
    let bytes = store.read_blob(&image.manifest)?;
    match Document::parse(&bytes, None)? {
        Document::Manifest(manifest) => {
            let media_type = manifest.media_type.unwrap_or_else(|| media::OCI_MANIFEST.to_owned());
            Ok((media_type, json!(manifest.annotations)))
        }
        Document::Index(_) => Err(Error::new(format!("{} is an index", image.manifest))),
    }
}

fn run_config(config: &Value) -> Value {
    let said = config.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut fields = empty_config();
    if let Some(fields) = fields.as_object_mut() {
        fields.extend(said.into_iter().filter(|(_, value)| !value.is_null()));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_config_leaves_out_is_empty_and_what_it_says_stays() {
        let config =
            json!({"config": {"User": "5", "Cmd": null, "Healthcheck": {"Test": ["NONE"]}}});
        let fields = run_config(&config);
        assert_eq!(fields["User"], "5");
        assert_eq!(fields["Cmd"], json!([]));
        assert_eq!(fields["Labels"], json!({}));
        assert_eq!(fields["Healthcheck"]["Test"], json!(["NONE"]));
        assert_eq!(run_config(&json!({}))["WorkingDir"], "");
    }
}
