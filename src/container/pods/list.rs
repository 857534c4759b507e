//! `usnea pod ps`: lists pods, and makes their rows.

use jiff::Timestamp;

use super::filter::PodFilter;
use super::known::{Pod, PodState, all};
use crate::amount;
use crate::container::{Container, Usnea};
use crate::documents::pod::{PodMemberRow, PodRow};
use crate::documents::text::Truncation;
use crate::error::Result;
use crate::monitor::Status;

/// Order of listed pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
    /// By ID.
    Id,
    /// By name.
    Name,
    /// The pod with the fewest members first.
    Members,
    /// By state, in podman's words.
    Status,
}

/// Pod of a list.
#[derive(Clone, Debug)]
pub struct ListedPod {
    /// Pod itself.
    pub pod: Pod,
    /// State of the pod.
    pub state: PodState,
    /// Members with their states, the oldest first.
    pub members: Vec<(Container, Status)>,
}

/// Lists the pods that match all filters.
pub fn list(usnea: &Usnea, filters: &[PodFilter], order: PodOrder) -> Result<Vec<ListedPod>> {
    let mut listed = Vec::new();
    for pod in all(usnea)? {
        if !PodFilter::fit(filters, &pod)? {
            continue;
        }
        let with_status = |member: Container| member.status().map(|status| (member, status));
        let members = pod.members()?.into_iter().map(with_status).collect::<Result<Vec<_>>>()?;
        let states: Vec<_> = members.iter().map(|(_, status)| status.clone()).collect();
        listed.push(ListedPod { pod, state: PodState::of(&states), members });
    }
    match order {
        PodOrder::Newest => {}
        PodOrder::Oldest => listed.reverse(),
        PodOrder::Id => listed.sort_by_cached_key(|one| one.pod.record.id.clone()),
        PodOrder::Name => listed.sort_by_cached_key(|one| one.pod.record.name.clone()),
        PodOrder::Members => listed.sort_by_key(|one| one.members.len()),
        PodOrder::Status => listed.sort_by_key(|one| one.state.word()),
    }
    Ok(listed)
}

impl ListedPod {
    /// Returns the row of a table, at the time `now`.
    pub fn row(&self, now: Timestamp, truncation: Truncation) -> PodRow {
        let record = &self.pod.record;
        let id = |id: &str| match truncation {
            Truncation::On => crate::object_id::short(id).to_owned(),
            Truncation::Off => id.to_owned(),
        };
        let list = |text: fn(&(Container, Status)) -> String| {
            self.members.iter().map(text).collect::<Vec<_>>().join(",")
        };
        let ids = self.members.iter().map(|(member, _)| id(&member.record.id));
        let member = |(member, status): &(Container, Status)| PodMemberRow {
            id: member.record.id.to_string(),
            names: member.record.name.clone(),
            status: status.word(),
            restart_count: status.state().map_or(0, |state| state.restarts),
        };
        PodRow {
            cgroup: String::new(),
            containers: self.members.iter().map(member).collect(),
            created: record.created.to_string(),
            created_human: amount::ago(record.created, now),
            id: record.id.clone(),
            short_id: id(&record.id),
            infra_id: String::new(),
            name: record.name.clone(),
            namespace: String::new(),
            networks: match record.has_network() {
                true => record.network.names().into_iter().map(str::to_owned).collect(),
                false => Vec::new(),
            },
            status: self.state.word(),
            labels: record.labels.clone(),
            label_map: record.labels.clone(),
            number_of_containers: self.members.len(),
            container_ids: ids.collect::<Vec<_>>().join(","),
            container_names: list(|(member, _)| member.record.name.clone()),
            container_statuses: list(|(_, status)| status.word().to_owned()),
            restart: record.restart.to_string(),
        }
    }
}
