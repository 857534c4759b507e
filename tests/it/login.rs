//! `usnea login` and `logout` against a real registry; skopeo reads what we keep, and we what it keeps.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::real_registry::{Auth, PASSWORD, RealRegistry, Tls, USERNAME};
use crate::support::{Place, Ran, finish, need, text};
use crate::terminal::Screen;

/// A home of a user's own, so that nothing of the tester's is read or written.
fn at_home(place: &Place, command: &mut Command) {
    fs::create_dir_all(place.path("run")).expect("a folder");
    command.env("HOME", place.folder("home")).env("XDG_RUNTIME_DIR", place.path("run"));
    command.env("CONTAINERS_REGISTRIES_CONF", place.write("registries.conf", ""));
    for name in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG"] {
        command.env_remove(name);
    }
}

fn usnea(place: &Place, arguments: &[&str], input: &str) -> Ran {
    let mut command = place.command(arguments);
    at_home(place, &mut command);
    let ran = finish(&mut command, input);
    assert!(!format!("{ran:?}").contains(PASSWORD), "the password is shown");
    ran
}

fn other(place: &Place, program: &str, arguments: &[&str], input: &str) -> Ran {
    let mut command = Command::new(program);
    place.prepare(command.args(arguments));
    at_home(place, &mut command);
    finish(&mut command, input)
}

fn log_in(place: &Place, host: &str, password: &str, more: &[&str]) -> Ran {
    let words = ["login", "-u", USERNAME, "--password-stdin", host];
    usnea(place, &[&words, more].concat(), &format!("{password}\n"))
}

const AUTH: &str = "run/containers/auth.json";

#[test]
fn skopeo_finds_logins_of_usnea() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Basic) else { return };
    let place = Place::new();
    let host = registry.host.as_str();
    let ran = log_in(&place, host, PASSWORD, &["--tls-verify=false", "-v"]);
    assert_eq!(ran.works(), format!("Used: {}\nLogin Succeeded!", text(&place.path(AUTH))));
    assert_eq!(ran.stderr, "");
    let mode = |name: &str| fs::metadata(place.path(name)).expect("it").mode() & 0o7777;
    assert_eq!((mode(AUTH), mode("run/containers")), (0o600, 0o700));
    assert_eq!(usnea(&place, &["login", "--get-login", host], "").works(), USERNAME);
    if need("skopeo") {
        let authfile = format!("--authfile={}", text(&place.path(AUTH)));
        let image = format!("docker://{host}/none");
        let asked = ["inspect", "--tls-verify=false", &authfile, &image];
        // The registry lets us in, and says that there is no such image.
        assert!(other(&place, "skopeo", &asked, "").stderr.contains("manifest unknown"));
        assert_eq!(
            other(&place, "skopeo", &["login", "--get-login", &authfile, host], "").works(),
            USERNAME
        );
        other(&place, "skopeo", &["logout", &authfile, host], "").works();
        usnea(&place, &["login", "--get-login", host], "")
            .fails_with(125, &["not logged in to", host]);
    }
}

#[test]
fn logins_of_skopeo_are_found() {
    let Some(registry) = RealRegistry::start(Tls::On, Auth::Basic) else { return };
    if !need("skopeo") {
        return;
    }
    let place = Place::new();
    let host = registry.host.as_str();
    let certificates = registry.certificates();
    let words =
        ["login", "-u", USERNAME, "--password-stdin", "--cert-dir", text(&certificates), host];
    other(&place, "skopeo", &[&words[..], &["--authfile", "mine.json"]].concat(), PASSWORD).works();
    let with_file =
        |words: &[&str]| usnea(&place, &[words, &["--authfile", "mine.json"]].concat(), "");
    assert_eq!(with_file(&["login", "--get-login", host]).works(), USERNAME);
    // What is kept still holds, so nothing is asked.
    let again = ["login", "--cert-dir", text(&certificates), host];
    assert_eq!(with_file(&again).works(), "Login Succeeded!");
    with_file(&["login", "--tls-verify", host]).fails_with(125, &["not a terminal"]);
    assert_eq!(
        with_file(&["logout", host]).works(),
        format!("Removed login credentials for {host}")
    );
    with_file(&["logout", host]).fails_with(125, &["not logged in to", host]);
    assert!(!place.path(AUTH).exists());
}

#[test]
fn certificates_of_the_home_are_used_and_plain_http_is_not_where_tls_is_asked_for() {
    let place = Place::new();
    let Some(registry) = RealRegistry::start(Tls::On, Auth::Basic) else { return };
    let verified = &["--tls-verify=true"];
    log_in(&place, &registry.host, PASSWORD, verified).fails_with(125, &[&registry.host]);
    let folder = place.folder(&format!("home/.config/containers/certs.d/{}", registry.host));
    fs::copy(registry.certificates().join("ca.crt"), folder.join("ca.crt")).expect("a copy");
    log_in(&place, &registry.host, PASSWORD, &[]).works();
    let Some(plain) = RealRegistry::start(Tls::Off, Auth::Basic) else { return };
    log_in(&place, &plain.host, PASSWORD, verified).fails_with(125, &[&plain.host]);
    assert!(!place.read(AUTH).contains(&plain.host));
}

#[test]
fn a_wrong_password_keeps_nothing() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Basic) else { return };
    let place = Place::new();
    let ran = log_in(&place, &registry.host, "not-it-at-all", &["--tls-verify=false"]);
    ran.fails_with(125, &["password is refused", &registry.host]);
    assert!(!ran.stderr.contains("not-it-at-all"));
    assert!(!place.path("run/containers").exists());
    log_in(&place, &registry.host, "", &["--tls-verify=false"]).fails_with(125, &["no password"]);
    log_in(&place, "plain", PASSWORD, &[]).fails_with(125, &["'plain' is not a registry"]);
    // It was right before: that stays.
    log_in(&place, &registry.host, PASSWORD, &["--tls-verify=false"]).works();
    let before = place.read(AUTH);
    log_in(&place, &registry.host, "not-it-at-all", &["--tls-verify=false"]).exits(125);
    assert_eq!(place.read(AUTH), before);
}

#[test]
fn a_password_among_the_arguments_is_warned_of() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Basic) else { return };
    let place = Place::new();
    let words = ["login", "-u", USERNAME, "-p", PASSWORD, "--tls-verify=false", &registry.host];
    let ran = usnea(&place, &words, "");
    assert_eq!(ran.works(), "Login Succeeded!");
    assert!(ran.stderr.contains("--password-stdin"), "{ran:?}");
}

#[test]
fn a_helper_keeps_the_login_and_no_file_has_it() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Basic) else { return };
    let place = Place::new();
    let script = "#!/bin/sh\ncase $1 in\nstore) exec cat > kept ;;\nget) cat > /dev/null; exec cat kept ;;\n\
        erase) rm kept ;;\nesac\n";
    let helper = place.write("bin/docker-credential-place", script);
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    let content = format!("{{\"credHelpers\":{{\"{}\":\"place\"}}}}", registry.host);
    place.write(AUTH, &content);
    let with_helper = |words: &[&str], input: &str| {
        let mut command = place.command(words);
        at_home(&place, &mut command);
        let path = std::env::var("PATH").expect("PATH");
        finish(command.env("PATH", format!("{}:{path}", text(&place.path("bin")))), input)
    };
    let host = registry.host.as_str();
    let words = ["login", "-u", USERNAME, "--password-stdin", "--tls-verify=false", "-v", host];
    let ran = with_helper(&words, PASSWORD);
    assert_eq!(ran.works(), "Used: docker-credential-place\nLogin Succeeded!");
    assert!(place.read("kept").contains(PASSWORD));
    assert_eq!(place.read(AUTH), content);
    assert_eq!(with_helper(&["login", "--get-login", host], "").works(), USERNAME);
    with_helper(&["logout", host], "").works();
    assert!(!place.path("kept").exists());
}

#[test]
fn a_login_of_dockers_is_found_but_not_taken_away() {
    let place = Place::new();
    place.write("home/.docker/config.json", r#"{"auths":{"a.example":{"auth":"bWU6eA=="}}}"#);
    assert_eq!(usnea(&place, &["login", "--get-login", "a.example"], "").works(), "me");
    let ran = usnea(&place, &["logout", "a.example"], "");
    ran.fails_with(125, &["not logged in to a.example"]);
    ran.hints();
    usnea(&place, &["logout", "--all"], "").works();
    assert!(place.read("home/.docker/config.json").contains("a.example"));
}

#[test]
fn a_password_that_is_typed_is_not_shown() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Basic) else { return };
    let place = Place::new();
    let words = ["login", "--tls-verify=false", registry.host.as_str()].map(str::to_owned);
    let start =
        |words: &[String]| Screen::start_with(&place, words, |command| at_home(&place, command));
    let mut screen = start(&words);
    screen.wait_for("Username: ");
    screen.types(&format!("{USERNAME}\r"));
    screen.wait_for("Password: ");
    screen.types(&format!("{PASSWORD}\r"));
    let (status, shown) = screen.end();
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("Login Succeeded!") && !shown.contains(PASSWORD), "{shown}");

    let named = ["login", "--tls-verify=false", "-u", "other", registry.host.as_str()];
    let mut screen = start(&named.map(str::to_owned));
    screen.wait_for("Password: ");
    screen.types("half a password\x03");
    let (status, shown) = screen.end();
    assert_eq!(status, 130, "{shown}");
    assert!(!shown.contains("half"), "{shown}");
}
