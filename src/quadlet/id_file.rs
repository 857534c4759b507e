//! Files with the IDs of containers and pods, by which the commands of a service find what it has made.

use super::service::{QuadletContext, ServiceUnit};
use super::source::QuadletFile;

/// Extension of the files of pods.
pub const POD: &str = "pod-id";
/// Prefix of runtime directories, which are in one folder with those of all services of the machine.
const PREFIX: &str = "usnea-";

/// Returns the path of the ID file of `source`, whose service has the name `service` (or `%N`).
pub fn path(
    source: &QuadletFile,
    around: &QuadletContext<'_>,
    service: &str,
    extension: &str,
) -> String {
    match around.owner(source) {
        None => format!("%t/{service}.{extension}"),
        Some(_) => format!("%t/{PREFIX}{service}/{service}.{extension}"),
    }
}

/// Returns the path of the own ID file of a service, in a folder where the service can make it: only root may write to
/// `/run`.
pub fn own_path(service: &mut ServiceUnit<'_>, extension: &str) -> String {
    if service.around.owner(service.source).is_some() {
        service.set("RuntimeDirectory", format!("{PREFIX}%N"));
    }
    path(service.source, service.around, "%N", extension)
}
