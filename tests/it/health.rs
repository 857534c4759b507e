//! `--health-*` and `usnea healthcheck`: a command tells how a container is.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::stocked::Stocked;
use crate::support::{Place, finish, text, within};

const LIMIT: Duration = Duration::from_secs(30);
const OFTEN: [&str; 4] = ["--health-interval", "100ms", "--health-retries", "2"];

/// A container that sleeps, called `box`, and is checked often.
fn checked(place: &Place, command: &str, options: &[&str]) {
    let options = [&["-d", "--name", "box", "--health-cmd", command], &OFTEN[..], options].concat();
    place.run_kept(&options, "trap 'exit 0' TERM; while :; do sleep 0.05; done").works();
}

fn field(place: &Place, template: &str) -> String {
    place.usnea(&["inspect", "--format", template, "box"]).works().to_owned()
}

fn health(place: &Place) -> String {
    field(place, "{{.State.Health.Status}}")
}

fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

#[test]
fn a_container_is_starting_then_well_then_ill_then_well_again() {
    let place = Place::new();
    checked(&place, "echo looked; test ! -e /ill", &["--health-start-period", "1h"]);
    assert!(within(LIMIT, || health(&place) == "healthy"));
    let status = place.usnea(&["ps", "--format", "{{.Status}}"]);
    assert!(status.works().ends_with("(healthy)"), "{status:?}");
    let fits = |word: &str| {
        let filter = format!("health={word}");
        place.usnea(&["ps", "-q", "--filter", &filter]).works().lines().count()
    };
    assert_eq!((fits("healthy"), fits("unhealthy"), fits("none")), (1, 0, 0));
    place.usnea(&["exec", "box", "touch", "/ill"]).works();
    assert!(within(LIMIT, || health(&place) == "unhealthy"));
    assert!(place.usnea(&["ps"]).works().contains("(unhealthy)"));
    place.usnea(&["healthcheck", "run", "box"]).exits(1);
    let state: Value = serde_json::from_str(&field(&place, "{{json .State.Health}}")).unwrap();
    assert!(state["FailingStreak"].as_u64().unwrap() >= 2, "{state}");
    let last = state["Log"].as_array().unwrap().last().unwrap();
    assert_eq!((last["ExitCode"].as_i64(), last["Output"].as_str()), (Some(1), Some("looked\n")));
    place.usnea(&["exec", "box", "rm", "/ill"]).works();
    assert!(within(LIMIT, || health(&place) == "healthy"));
    assert_eq!(place.usnea(&["healthcheck", "run", "box"]).works(), "");
    assert!(within(LIMIT, || field(&place, "{{len .State.Health.Log}}") == "5"));
    assert_eq!(field(&place, "{{.State.Health.FailingStreak}}"), "0");
    let words = ["events", "--until", "0s", "-f", "event=health_status", "--format", "{{.Action}}"];
    let told = place.usnea(&words);
    let told: Vec<&str> = told.works().lines().collect();
    assert_eq!(
        told,
        ["healthy", "unhealthy", "healthy"].map(|word| format!("health_status: {word}"))
    );
    // The log has the changes, and nothing of the checks between.
    let log = place.usnea(&["logs", "box"]).stderr;
    assert_eq!(log.matches("usnea: health: ").count(), 3, "{log}");
    // Another run begins anew.
    place.usnea(&["restart", "--time", "0", "box"]).works();
    assert!(within(LIMIT, || health(&place) == "healthy"));
    clean(&place);
}

#[test]
fn failures_within_the_start_period_do_not_count() {
    let place = Place::new();
    let options = ["--health-start-period", "1h", "--health-start-interval", "50ms"];
    checked(&place, "echo no; exit 1", &options);
    assert!(within(LIMIT, || field(&place, "{{len .State.Health.Log}}") == "5"));
    assert_eq!(health(&place), "starting");
    assert!(place.usnea(&["ps"]).works().contains("(health: starting)"));
    // One check by hand tells of itself alone.
    assert_eq!(place.usnea(&["healthcheck", "run", "box"]).exits(1), "unhealthy");
    assert_eq!(health(&place), "starting");
    clean(&place);
}

#[test]
fn a_check_that_takes_too_long_has_failed_and_is_gone() {
    let place = Place::new();
    let span = format!("7321.{}", std::process::id());
    checked(&place, &format!("echo begun; exec sleep {span}"), &["--health-timeout", "200ms"]);
    assert!(within(LIMIT, || health(&place) == "unhealthy"));
    let last = field(&place, "{{json (index .State.Health.Log 0)}}");
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["ExitCode"].as_i64(), Some(-1), "{last}");
    let output = last["Output"].as_str().unwrap();
    assert!(output.starts_with("begun\nHealth check exceeded timeout"), "{output}");
    place.usnea(&["kill", "box"]).works();
    clean(&place);
}

#[test]
fn a_command_that_is_not_there_is_a_failure_that_says_so() {
    let place = Place::new();
    checked(&place, r#"["no-such-program"]"#, &[]);
    assert!(within(LIMIT, || health(&place) == "unhealthy"));
    let log = field(&place, "{{json .State.Health.Log}}");
    assert!(log.contains("\"ExitCode\":127") && log.contains("no-such-program"), "{log}");
    clean(&place);
}

#[test]
fn an_unhealthy_container_is_killed_stopped_or_restarted_as_configured() {
    let place = Place::new();
    let ended = || field(&place, "{{.State.Status}} {{.State.ExitCode}}");
    checked(&place, "exit 1", &["--health-on-failure", "kill"]);
    assert!(within(LIMIT, || ended() == "exited 137"), "{}", ended());
    clean(&place);
    checked(&place, "exit 1", &["--health-on-failure", "stop", "--restart", "always"]);
    assert!(within(LIMIT, || ended() == "exited 0"), "{}", ended());
    clean(&place);
    checked(&place, "exit 1", &["--health-on-failure", "restart"]);
    let restarts = || field(&place, "{{.RestartCount}}").parse::<u32>().unwrap();
    assert!(within(LIMIT, || restarts() >= 1));
    place.usnea(&["stop", "--time", "0", "box"]).works();
    clean(&place);
}

#[test]
fn the_images_check_counts_unless_another_or_none_is_asked_for() {
    let stocked = Stocked::new();
    let place = &stocked.place;
    let root = place.small_root();
    let tar = place.path("root.tar");
    finish(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."), "").works();
    let change = "HEALTHCHECK --interval=100ms --retries=7 CMD test -e /etc/passwd";
    stocked.usnea(&["import", "--change", change, text(&tar), "checked"]).works();
    let run = |options: &[&str]| {
        let words =
            [&["run", "-d", "--name", "box"], options, &["checked", "sleep", "1000"]].concat();
        stocked.usnea(&words).works();
    };
    let field = |template: &str| {
        stocked.usnea(&["inspect", "--format", template, "box"]).works().to_owned()
    };
    let remove = || stocked.usnea(&["rm", "-f", "--time", "0", "box"]).works().to_owned();
    run(&["--health-interval", "50ms"]);
    assert!(within(LIMIT, || field("{{.State.Health.Status}}") == "healthy"));
    assert_eq!(
        field("{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Retries}}"),
        "50000000 7"
    );
    remove();
    for options in [&["--no-healthcheck"][..], &["--health-cmd", "none"]] {
        run(options);
        assert_eq!(field("{{json .State.Health}}"), "null");
        assert_eq!(
            stocked.usnea(&["ps", "-q", "--filter", "health=none"]).works().lines().count(),
            1
        );
        stocked.usnea(&["healthcheck", "run", "box"]).fails_with(125, &["no check of health"]);
        remove();
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new();
    let refused = |options: &[&str], phrase: &str| {
        let options = [&["-d", "--name", "box"], options].concat();
        place.run_kept(&options, "true").fails_with(125, &[phrase]);
    };
    refused(&["--health-interval", "1s"], "nothing to check");
    refused(&["--health-on-failure", "kill"], "nothing to check");
    refused(&["--health-cmd", "true", "--no-healthcheck"], "exclude each other");
    refused(&["--health-cmd", "true", "--health-timeout", "10"], "--health-timeout 10");
    refused(&["--health-cmd", "true", "--health-interval", "1us"], "--health-interval 1us");
    place
        .usnea(&["create", "--name", "box", "--health-cmd", "true", &place.image(), "true"])
        .works();
    place.usnea(&["healthcheck", "run", "box"]).fails_with(125, &["not running"]);
    clean(&place);
}

#[test]
fn the_startup_check_comes_before_the_regular_one() {
    let place = Place::new();
    let startup = ["--health-startup-cmd", "echo startup; test -e /up"];
    let often = ["--health-startup-interval", "100ms", "--health-startup-success", "2"];
    checked(&place, "echo regular", &[&startup[..], &often].concat());
    let last = "{{range .State.Health.Log}}{{.Output}}{{end}}";
    assert!(within(LIMIT, || field(&place, last).contains("startup")));
    assert_eq!(health(&place), "starting");
    assert!(!field(&place, last).contains("regular"));
    let check = field(&place, "{{json .Config.StartupHealthCheck}}");
    let check: Value = serde_json::from_str(&check).unwrap();
    assert_eq!((&check["Interval"], &check["Successes"]), (&100_000_000.into(), &2.into()));
    place.usnea(&["exec", "box", "touch", "/up"]).works();
    assert!(within(LIMIT, || health(&place) == "healthy"));
    assert!(field(&place, last).contains("regular"));
    clean(&place);
}

#[test]
fn a_container_whose_startup_check_fails_too_often_is_restarted() {
    let place = Place::new();
    let startup = ["--health-startup-cmd", "test -e /up", "--health-startup-interval", "100ms"];
    let often = ["--health-startup-retries", "3"];
    checked(&place, "true", &[&startup[..], &often].concat());
    let restarts = || field(&place, "{{.RestartCount}}").parse::<u32>().unwrap();
    assert!(within(LIMIT, || restarts() >= 1));
    // The next run is in the same root.
    assert!(within(LIMIT, || place.usnea(&["exec", "box", "touch", "/up"]).status == 0));
    assert!(within(LIMIT, || health(&place) == "healthy"));
    clean(&place);
}

#[test]
fn a_startup_check_needs_a_regular_one() {
    let place = Place::new();
    let run = |options: &[&str]| place.run_kept(options, "true");
    run(&["--health-startup-cmd", "true"]).fails_with(125, &["nothing to check the health with"]);
    run(&["--health-cmd", "none", "--health-startup-cmd", "true"])
        .fails_with(125, &["nothing to check the health with"]);
    run(&["--health-cmd", "true", "--health-startup-retries", "1"])
        .fails_with(125, &["--health-startup-cmd"]);
    run(&["--health-cmd", "true", "--health-log-destination", "/no/such/folder"])
        .fails_with(125, &["--health-log-destination /no/such/folder"]);
}

#[test]
fn results_are_kept_as_many_as_asked_for_and_copied_to_a_directory() {
    let place = Place::new();
    let folder = place.folder("results");
    let bounds = ["--health-max-log-count", "7", "--health-max-log-size", "3"];
    let options = [&bounds[..], &["--health-log-destination", text(&folder)]].concat();
    checked(&place, "echo output", &options);
    let count = || field(&place, "{{len .State.Health.Log}}");
    assert!(within(LIMIT, || count() == "7"));
    assert_eq!(field(&place, "{{(index .State.Health.Log 0).Output}}"), "out");
    let template = "{{.Config.HealthLogDestination}} {{.Config.HealthcheckMaxLogCount}} {{.Config.HealthcheckMaxLogSize}}";
    assert_eq!(field(&place, template), format!("{} 7 3", text(&folder)));
    let copy = folder.join(format!("{}-healthcheck.log", field(&place, "{{.Id}}")));
    assert!(std::fs::read_to_string(copy).expect("a copy").contains("\"Output\":\"out\""));
    clean(&place);
}
