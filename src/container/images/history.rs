//! `usnea image history`: the command behind each layer, the newest first.

use jiff::Timestamp;

use crate::amount::{self, ago};
use crate::container::Usnea;
use crate::documents::image::HistoryRow;
use crate::documents::text::{Truncation, WIDEST};
use crate::error::Result;
use crate::image::manifest::{ImageConfig, parse_config};
use crate::image::store::{ImageLayer, ImageRecord};

/// Step of an image's build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryStep {
    /// Layer that the step made, if any.
    pub layer: Option<ImageLayer>,
    /// Time of the step.
    pub created: Option<Timestamp>,
    /// Command of the step; empty when unknown.
    pub created_by: String,
    /// Comment on the step.
    pub comment: String,
}

/// Image, and the steps of its build.
#[derive(Clone, Debug)]
pub struct ImageHistory {
    /// Image itself.
    pub image: ImageRecord,
    /// Steps, the newest first.
    pub steps: Vec<HistoryStep>,
}

/// Format of the sizes in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeForm {
    /// Sizes with a unit: `117MB`.
    Human,
    /// Bytes.
    Bytes,
}

/// Returns the history of the image that `text` names.
pub fn history(usnea: &Usnea, text: &str) -> Result<ImageHistory> {
    let stores = usnea.images()?;
    let (store, image) = super::known(stores, text)?;
    let bytes = store.read_blob(&image.config)?;
    let (config, _) = parse_config(&bytes, image.layers.len())?;
    let steps = steps(&config, &image.layers);
    Ok(ImageHistory { image, steps })
}

impl ImageHistory {
    /// Returns the rows of a table, at the time `now`.
    pub fn rows(&self, now: Timestamp, truncation: Truncation, sizes: SizeForm) -> Vec<HistoryRow> {
        let row = |(at, step): (usize, &HistoryStep)| {
            let size = step.layer.as_ref().map_or(0, |layer| layer.size);
            let since = step.created.map_or_else(|| "N/A".into(), |time| ago(time, now));
            let tags = self.image.names.iter().filter(|_| at == 0).map(ToString::to_string);
            HistoryRow {
                // Only the newest step has an image ID, as in docker.
                id: match at {
                    0 => truncation.digest(&self.image.config),
                    _ => "<missing>".into(),
                },
                created: since.clone(),
                created_since: since,
                created_at: step.created.map(|time| time.to_string()).unwrap_or_default(),
                created_by: truncation.text(&step.created_by.replace('\t', " "), WIDEST),
                size: match sizes {
                    SizeForm::Human => amount::size(size),
                    SizeForm::Bytes => size.to_string(),
                },
                comment: step.comment.clone(),
                tags: tags.collect(),
            }
        };
        self.steps.iter().enumerate().map(row).collect()
    }
}

/// Matches history and layers from the bottom: each step that is not empty made the next layer. Layers that remain have
/// no step, and come last: some tools add layers without history.
fn steps(config: &ImageConfig, layers: &[ImageLayer]) -> Vec<HistoryStep> {
    let mut layers = layers.iter().cloned();
    let mut steps: Vec<HistoryStep> = Vec::new();
    for entry in &config.history {
        steps.push(HistoryStep {
            layer: if entry.empty_layer { None } else { layers.next() },
            created: entry.created.as_ref().and_then(|text| text.parse().ok()),
            created_by: entry.created_by.clone(),
            comment: entry.comment.clone(),
        });
    }
    steps.extend(layers.map(|layer| HistoryStep {
        layer: Some(layer),
        created: None,
        created_by: String::new(),
        comment: String::new(),
    }));
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn layer(size: u64) -> ImageLayer {
        let digest = Digest::of(&size.to_le_bytes());
        ImageLayer { blob: digest.clone(), packed: 1, diff_id: digest, size }
    }

    #[test]
    fn layers_belong_to_the_steps_that_are_not_empty() {
        let config: ImageConfig = serde_json::from_str(
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"history":[
                {"created":"2024-01-01T00:00:00Z","created_by":"ADD"},
                {"created_by":"CMD","empty_layer":true},
                {"created_by":"RUN","comment":"c"}]}"#,
        )
        .unwrap();
        let steps = steps(&config, &[layer(1), layer(2), layer(3)]);
        let seen: Vec<_> = steps
            .iter()
            .map(|step| (step.created_by.as_str(), step.layer.as_ref().map(|layer| layer.size)))
            .collect();
        assert_eq!(seen, [("", Some(3)), ("RUN", Some(2)), ("CMD", None), ("ADD", Some(1))]);
        assert_eq!(steps[1].comment, "c");
        assert!(steps[3].created.is_some());
    }
}
