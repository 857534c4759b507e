//! Tests of the command line alone.

use clap::CommandFactory;

use super::super::ContainerOptions;
use super::{Line, parsed};

#[test]
fn flags_are_typed_as_with_docker() {
    let line = parsed(&[
        "-it",
        "--rm",
        "-h",
        "web",
        "--name=w1",
        "--net=host",
        "-eA=1",
        "-e",
        "B",
        "--read-only",
        "--cap-add",
        "NET_ADMIN",
        "--cap-drop=all",
        "--userns",
        "keep-id",
        "--preserve-fds",
        "2",
        "--name",
        "w2",
        "image",
        "sh",
        "-c",
        "-it",
        "--rm",
    ]);
    let Line { options, image, command } = line.unwrap_or_else(|error| panic!("{error}"));
    assert!(options.interactive && options.tty && options.rm && options.read_only && !options.init);
    assert_eq!(options.hostname.unwrap().as_str(), "web");
    assert_eq!(options.name.unwrap().as_str(), "w2");
    assert_eq!(options.env.len(), 2);
    assert_eq!((options.cap_add.len(), options.cap_drop.len(), options.preserve_fds), (1, 1, 2));
    assert_eq!((image.as_str(), command.join(" ").as_str()), ("image", "sh -c -it --rm"));
}

#[test]
fn a_malformed_value_is_an_error_that_names_flag_and_value() {
    for (flag, value) in [
        ("--volume", "data:x"),
        ("--mount", "type=x"),
        ("--tmpfs", "/"),
        ("--ulimit", "x=1"),
        ("--sysctl", "x"),
        ("--shm-size", "x"),
        ("--device", "null"),
        ("--user", "a:b:c"),
        ("--cap-add", "x"),
        ("--security-opt", "x"),
        ("--network", "br/0"),
        ("--userns", "x"),
        ("--uidmap", "x"),
        ("--name", "x"),
        ("--hostname", "a_b"),
        ("--env", "=x"),
        ("--group-add", "a:b"),
        ("--entrypoint", "["),
    ] {
        let error = parsed(&[flag, value, "image"]).err().expect(flag).to_string();
        assert!(error.contains(&format!("invalid value '{value}' for '{flag} ")), "{error}");
    }
}

#[test]
fn defaults_of_the_flags_are_the_defaults_of_the_type() {
    let parsed = parsed(&["image"]).unwrap_or_else(|error| panic!("{error}")).options;
    assert_eq!(format!("{parsed:?}"), format!("{:?}", ContainerOptions::default()));
}

#[test]
fn the_help_of_a_command_is_the_commands_own() {
    let help = Line::command().render_long_help().to_string();
    assert!(help.starts_with("Command with these flags"), "{help}");
    assert!(help.contains("-v, --volume <[HOST|NAME:]CONTAINER[:OPTIONS]>"), "{help}");
}
