//! Fields of an event for templates. The JSON of `usnea events` is the record of the event itself.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::monitor::events::Event;

/// Event, as templates see it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventFields<'a> {
    /// docker's document, whose fields `{{json .}}` shows: some begin with a small letter.
    #[serde(flatten)]
    pub event: &'a Event,
    pub time: i64,
    pub time_nano: i64,
    pub status: &'a str,
    #[serde(rename = "ID")]
    pub id: &'a str,
    pub name: &'a str,
    pub image: &'a str,
    pub from: &'a str,
    pub scope: &'a str,
    pub attributes: &'a BTreeMap<String, String>,
    /// Exit status of `die` and `exec_die`, else empty; podman's field, as all that follow.
    pub container_exit_code: &'a str,
    /// Health in an event `health_status`, else empty.
    pub health_status: &'a str,
    pub network: &'a str,
    #[serde(rename = "PodID")]
    pub pod_id: &'a str,
    pub details: &'a BTreeMap<String, String>,
    pub error: &'a str,
}

impl<'a> From<&'a Event> for EventFields<'a> {
    fn from(event: &'a Event) -> Self {
        let attribute = |name: &str| event.actor.attributes.get(name).map_or("", String::as_str);
        Self {
            event,
            time: event.time,
            time_nano: event.time_nano,
            status: &event.action,
            id: &event.actor.id,
            name: attribute("name"),
            image: attribute("image"),
            from: event.from.as_deref().unwrap_or_default(),
            scope: &event.scope,
            attributes: &event.actor.attributes,
            container_exit_code: attribute("exitCode"),
            health_status: event.action.strip_prefix("health_status: ").unwrap_or_default(),
            network: if event.kind == "network" { attribute("name") } else { "" },
            pod_id: if event.kind == "pod" { &event.actor.id } else { "" },
            details: &event.actor.attributes,
            error: attribute("error"),
        }
    }
}
