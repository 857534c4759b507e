//! `usnea auto-update`: a newer image in a real registry, and a script in the place of systemctl that restarts the service.

use crate::real_registry::{Auth, RealRegistry, Tls};
use crate::small_root;
use crate::stocked::Stocked;
use crate::support::{Ran, text};

const PLAIN: &str = "--tls-verify=false";

/// In the place of systemctl: notes its words, and runs what the unit would. A new image with a file /broken does not start.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$@" >> "$calls"
[ "$1" != --user ] || shift
[ "$1" != --no-ask-password ] || shift
[ "$1" = restart ] || exit 1
[ ! -e "$calls.refusal" ] || { cat "$calls.refusal" >&2; exit 1; }
PODMAN_SYSTEMD_UNIT=$2 "$usnea" run -d --pull never --replace --name "${2%.service}" $options "$image" \
    sh -c '[ ! -e /broken ] && exec sleep 1000' > /dev/null 2> "$calls.errors"
sleep 0.5
[ "$("$usnea" inspect -f '{{.State.Running}}' "${2%.service}")" = true ] || { echo "Job for $2 failed." >&2; exit 1; }
"#;

/// A registry, and a service `app.service` of an image in it.
struct Service {
    registry: RealRegistry,
    stocked: Stocked,
    image: String,
    policy: &'static str,
}

impl Service {
    fn new(policy: &'static str) -> Option<Self> {
        let registry = RealRegistry::start(Tls::Off, Auth::Off)?;
        let stocked = Stocked::new();
        small_root::make(&stocked.place.path("made-1"));
        let systemctl = stocked.place.write("bin/systemctl", SYSTEMCTL);
        std::fs::set_permissions(systemctl, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("a mode");
        let image = format!("{}/app:1", registry.host);
        Some(Self { registry, stocked, image, policy })
    }

    /// Pushes the image, with one more file; the store knows it by another name alone.
    fn publish(&self, file: &str) -> String {
        self.stocked.place.write(&format!("made-1/{file}"), "");
        let id = self.stocked.import("made:1", &[], &[]);
        self.stocked.usnea(&["push", PLAIN, "-q", "made:1", &self.image]).works();
        id
    }

    fn run(&self, words: &[&str]) -> Ran {
        let place = &self.stocked.place;
        let path = format!("{}:{}", text(&place.path("bin")), std::env::var("PATH").expect("PATH"));
        let mut command = place.command(words);
        self.stocked.at_home(&mut command);
        command.env("PATH", path).env("usnea", crate::support::binary());
        command.env("image", &self.image).env("calls", place.path("calls"));
        let options = format!("--label io.containers.autoupdate={}", self.policy);
        crate::support::finish(command.env("options", options), "")
    }

    /// Starts the service, as systemd would.
    fn start(&self) {
        self.run(&["pull", PLAIN, "-q", &self.image]).works();
        let mut command = std::process::Command::new(self.stocked.place.path("bin/systemctl"));
        self.stocked.at_home(command.args(["restart", "app.service"]));
        command.env("usnea", crate::support::binary()).env("image", &self.image);
        command.env("calls", self.stocked.place.path("calls"));
        command.env("options", format!("--label io.containers.autoupdate={}", self.policy));
        crate::support::finish(&mut command, "").works();
        std::fs::remove_file(self.stocked.place.path("calls")).expect("calls");
    }

    fn update(&self, words: &[&str]) -> Ran {
        let format = "{{.Unit}} {{.ContainerName}} {{.Image}} {{.Policy}} {{.Updated}}";
        self.run(&[&["auto-update", "--format", format, PLAIN], words].concat())
    }

    fn line(&self, updated: &str) -> String {
        format!("app.service app {} {} {updated}", self.image, self.policy)
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.stocked.place.path("calls")).unwrap_or_default()
    }

    /// ID of the image with which the container runs.
    fn running(&self) -> String {
        self.run(&["inspect", "-f", "{{.State.Running}} {{.Image}}", "app"]).works().to_owned()
    }

    fn clean(self) {
        self.stocked.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
        drop(self.registry);
    }
}

fn running(id: &str) -> String {
    format!("true {}", id.trim_start_matches("sha256:"))
}

fn is_running_with(service: &Service, id: &str) {
    assert_eq!(service.running().replace("sha256:", ""), running(id));
}

#[test]
fn a_newer_image_of_the_registry_restarts_the_service() {
    let Some(service) = Service::new("registry") else { return };
    let old = service.publish("one");
    service.start();
    assert_eq!(service.update(&[]).works(), service.line("false"));
    let new = service.publish("two");
    assert_eq!(service.update(&["--dry-run"]).works(), service.line("pending"));
    is_running_with(&service, &old);
    assert_eq!(service.calls(), "");
    assert_eq!(service.update(&[]).works(), service.line("true"));
    is_running_with(&service, &new);
    assert_eq!(
        service.calls(),
        "--user --no-ask-password restart app.service\n\
         --user --no-ask-password is-failed --quiet app.service\n"
    );
    let table = service.run(&["auto-update", PLAIN]);
    let [head, row] = &table.works().lines().collect::<Vec<_>>()[..] else { panic!("{table:?}") };
    let heads: Vec<_> = head.split_whitespace().collect();
    assert_eq!(heads, ["UNIT", "CONTAINER", "IMAGE", "POLICY", "UPDATED"]);
    assert!(row.contains(" (app) ") && row.ends_with("false"), "{row}");
    service.clean();
}

#[test]
fn a_service_that_does_not_start_with_the_new_image_gets_the_old_one_again() {
    let Some(service) = Service::new("registry") else { return };
    let old = service.publish("one");
    service.start();
    let broken = service.publish("broken");
    let ran = service.update(&[]);
    assert_eq!(ran.works(), service.line("rolled back"));
    assert!(ran.stderr.contains("Job for app.service failed."), "{ran:?}");
    is_running_with(&service, &old);
    assert_eq!(service.calls().matches("restart app.service").count(), 2);
    let ran = service.update(&["--rollback=false"]);
    assert_eq!((ran.status, ran.stdout.trim()), (1, service.line("failed").as_str()), "{ran:?}");
    assert!(ran.stderr.contains("unit app.service: systemctl restart app.service"), "{ran:?}");
    let image = service.run(&["inspect", "-f", "{{.Image}}", "app"]).works().to_owned();
    assert_eq!(image.replace("sha256:", ""), broken.replace("sha256:", ""));
    service.clean();
}

/// A user's manager that is not there, or a unit of the machine that polkit lets no user restart.
#[test]
fn a_manager_that_refuses_leaves_the_container_and_the_new_image_for_a_restart_by_hand() {
    let Some(service) = Service::new("local") else { return };
    let old = service.publish("one");
    service.start();
    let new = service.publish("two");
    service.run(&["tag", "made:1", &service.image]).works();
    let refusal = service.stocked.place.path("calls.refusal");
    for reason in ["Failed to connect to bus: No medium found", "Access denied"] {
        std::fs::write(&refusal, reason).expect("a file");
        let ran = service.update(&[]);
        assert_eq!((ran.status, ran.stdout.trim()), (1, &*service.line("failed")), "{ran:?}");
        for phrase in [reason, "unit app.service: ", "'systemctl --user restart app.service'"] {
            assert_eq!(ran.stderr.matches(phrase).count(), 1, "{phrase}: {ran:?}");
        }
        is_running_with(&service, &old);
        assert_eq!(service.calls().matches(" restart ").count(), 1);
        std::fs::remove_file(service.stocked.place.path("calls")).expect("calls");
    }
    std::fs::remove_file(&refusal).expect("a file");
    assert_eq!(service.update(&[]).works(), service.line("true"));
    is_running_with(&service, &new);
    service.clean();
}

#[test]
fn the_local_policy_asks_no_registry() {
    let Some(service) = Service::new("local") else { return };
    service.publish("one");
    service.start();
    let new = service.publish("two");
    assert_eq!(service.update(&[]).works(), service.line("false"));
    service.run(&["tag", "made:1", &service.image]).works();
    assert_eq!(service.update(&["--dry-run"]).works(), service.line("pending"));
    assert_eq!(service.update(&[]).works(), service.line("true"));
    is_running_with(&service, &new);
    service.clean();
}

#[test]
fn containers_that_cannot_be_updated_are_named() {
    let Some(service) = Service::new("registry") else { return };
    service.publish("one");
    service.start();
    let run = |name: &str, label: &str, image: &str| {
        service.run(&["run", "-d", "--name", name, "-l", label, image, "sleep", "1000"]).works();
    };
    run("unit-less", "io.containers.autoupdate=registry", &service.image);
    run("odd", "io.containers.autoupdate=daily", &service.image);
    run("off", "io.containers.autoupdate=disabled", &service.image);
    run("plain", "a=b", &service.image);
    let ran = service.update(&[]);
    assert_eq!((ran.status, ran.stdout.trim()), (1, service.line("false").as_str()), "{ran:?}");
    for phrase in [
        "container unit-less: label io.containers.autoupdate without label PODMAN_SYSTEMD_UNIT",
        "container odd: label io.containers.autoupdate=daily: registry, local or disabled",
    ] {
        assert!(ran.stderr.contains(phrase), "{phrase}: {ran:?}");
    }
    assert!(!ran.stderr.contains("off") && !ran.stderr.contains("plain"), "{ran:?}");
    service.clean();
}
