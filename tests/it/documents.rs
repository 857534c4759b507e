//! Documents of `inspect`, `version` and the lists: what scripts ask of them, and what a template says of a field that is
//! missing. Their fields are held against docker's and podman's in `oracles`.

use crate::stocked::Stocked;
use crate::support::{Place, text};

/// A place with an image that has an entry point, a command, a label and a volume.
fn shop() -> Stocked {
    let place = Stocked::new();
    let root = place.place.small_root();
    let tar = place.place.path("small.tar");
    let owners = ["--owner=0", "--group=0", "--numeric-owner"];
    place
        .other("tar", &[&owners[..], &["-cf", text(&tar), "-C", text(&root), "."]].concat())
        .works();
    let changes =
        ["--change", "ENTRYPOINT [\"/bin/sh\",\"-c\"]", "--change", "CMD [\"sleep 1000\"]"];
    let more = ["--change", "LABEL a.b=c", "--change", "VOLUME /vol", "--change", "USER 0"];
    place.usnea(&[&["import"], &changes[..], &more, &[text(&tar), "shop:1"]].concat()).works();
    place
}

#[test]
fn templates_of_scripts_are_answered_for_a_container() {
    let place = shop();
    let options = [
        "--name",
        "web",
        "--cap-add",
        "SYS_PTRACE",
        "--cap-drop",
        "CHOWN",
        "--tmpfs",
        "/t:size=64k",
        "--shm-size",
        "32m",
        "--security-opt",
        "no-new-privileges",
        "-l",
        "x=y",
        "--cidfile",
        "cid",
        "-v",
        "data:/data",
        "-v",
        "/usr:/host:ro",
    ];
    place.usnea(&[&["create"], &options[..], &["shop:1", "echo hi"]].concat()).works();
    let ask = |template: &str| place.usnea(&["inspect", "-f", template, "web"]).works().to_owned();
    let id = ask("{{.Id}}");
    let anonymous = ask(r#"{{range .Mounts}}{{if eq .Destination "/vol"}}{{.Name}}{{end}}{{end}}"#);
    for (template, answer) in [
        ("{{.ID}}", id.as_str()),
        ("{{json .Config.Entrypoint}} {{json .Config.Cmd}}", r#"["/bin/sh","-c"] ["echo hi"]"#),
        ("{{.Path}} {{.Args}}", "/bin/sh [-c echo hi]"),
        ("{{range $path, $_ := .Config.Volumes}}{{$path}} {{end}}", "/vol /data"),
        ("{{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}}", "[CAP_SYS_PTRACE] [CAP_CHOWN]"),
        ("{{.HostConfig.ShmSize}} {{.HostConfig.NanoCpus}}", "33554432 0"),
        ("{{.HostConfig.SecurityOpt}}", "[no-new-privileges]"),
        ("{{index .HostConfig.Tmpfs \"/t\"}}", "rw,noexec,nosuid,nodev,mode=1777,size=65536"),
        ("{{.HostConfig.Devices}} {{.HostConfig.CgroupParent}}", "[] "),
        (
            "{{range .Mounts}}{{.Destination}}:{{.Name}}:{{.Driver}} {{end}}",
            "/t:: /data:data:local /host:: /vol:anonymous:local",
        ),
        // A container that has not been started has no address, with docker too.
        ("{{range .NetworkSettings.Networks}}<{{.IPAddress}}>{{end}}", "<>"),
        ("<{{.NetworkSettings.IPAddress}}{{.Config.MacAddress}}>", "<>"),
        ("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}", "bridge"),
        ("{{.NetworkSettings.MacAddress}}{{.NetworkSettings.SandboxKey}}", ""),
        ("{{.ResolvConfPath}}{{.ExecIDs}}{{.GraphDriver.Data.MergedDir}}", "[]"),
        ("{{.State.StartedAt.Format \"2006\"}}", "0001"),
        ("{{.Created.UTC.Format \"15h\" | len}}", "3"),
        ("{{index .Config.Labels \"x\"}}", "y"),
    ] {
        let said = ask(template).replace(&anonymous, "anonymous");
        let sorted = |text: &str| {
            let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(sorted(said.trim_end()), sorted(answer.trim_end()), "{template}");
    }
    let cid = ask("{{.HostConfig.ContainerIDFile}}");
    assert!(cid.ends_with("/cid") && cid.starts_with('/'), "{cid}");
    let sizes = place.usnea(&["inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "web"]);
    let sizes: Vec<u64> =
        sizes.works().split(' ').map(|size| size.parse().expect("bytes")).collect();
    assert!(sizes[1] > sizes[0] && sizes[0] > 0, "{sizes:?}");
    let image = |template: &str| place.field("shop:1", template);
    assert_eq!(image("{{.User}} {{.Labels}} {{.Config.Healthcheck}}"), "0 map[a.b:c] <no value>");
    assert!(image("{{.GraphDriver.Data.UpperDir}}").starts_with('/'));
    assert_eq!(image("{{.ID}}"), image("{{.Id}}"));
    place.usnea(&["rm", "-f", "web"]).works();
}

#[test]
fn the_document_of_a_running_container_has_its_namespaces_and_files() {
    let place = Place::new();
    place.usnea(&place.kept(&["run", "-d", "--name", "web"], "touch /seen; sleep 1000")).works();
    let template = "{{.State.Pid}} {{.NetworkSettings.SandboxKey}} {{.GraphDriver.Data.MergedDir}} {{.State.ConmonPid}}";
    let said = place.usnea(&["inspect", "-f", template, "web"]).works().to_owned();
    let words: Vec<&str> = said.split(' ').collect();
    assert_eq!(words[1], format!("/proc/{}/ns/net", words[0]));
    let address = "{{range .NetworkSettings.Networks}}<{{.IPAddress}}>{{end}}";
    if crate::support::need("slirp4netns") {
        let ran = place.usnea(&["inspect", "-f", address, "web"]);
        assert_eq!(ran.works(), "<10.0.2.100>");
    }
    let hosts = place.usnea(&["inspect", "-f", "{{.HostsPath}}", "web"]);
    assert_eq!(hosts.works(), format!("/proc/{}/root/etc/hosts", words[0]));
    assert!(crate::support::within(std::time::Duration::from_secs(20), || {
        std::path::Path::new(words[2]).join("seen").exists()
    }));
    place.usnea(&["rm", "-f", "-t", "0", "web"]).works();
}

#[test]
fn a_missing_field_is_reported_with_the_fields_of_its_level() {
    let place = Place::new();
    place.usnea(&place.kept(&["create", "--name", "web"], "true")).works();
    let ask = |template: &str| place.usnea(&["inspect", "-f", template, "web"]);
    let ran = ask("{{.Config.Nothing}}");
    ran.fails_with(125, &["there is no field 'Nothing' in .Config"]);
    let hint = ran.stderr.lines().last().unwrap_or_default();
    assert!(hint.contains("WorkingDir") && !hint.contains("HostConfig"), "{hint}");
    let ran = ask("{{range .NetworkSettings.Networks}}{{.Nothing}}{{end}}");
    assert!(ran.stderr.contains("IPAddress") && ran.status == 125, "{ran:?}");
    // A container without a check has no health to ask for: scripts go on with `|| echo none`.
    ask("{{.State.Health.Status}}")
        .fails_with(125, &["there is no field 'Status'", ".State.Health is null"]);
    let ran = ask(
        "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{json .State.Health}}",
    );
    assert_eq!(ran.works(), "none null");
    place.usnea(&["rm", "web"]).works();
}

#[test]
fn lists_have_docker_s_fields_and_podman_s_and_single_labels() {
    let place = shop();
    place.usnea(&["create", "--name", "web", "-l", "x=1,2", "shop:1"]).works();
    let ps = |template: &str| place.usnea(&["ps", "-a", "--format", template]).works().to_owned();
    let image_id = place.field("shop:1", "{{.Id}}");
    assert_eq!(ps("{{.Label \"x\"}}|{{.Label \"a.b\"}}|{{.Label \"none\"}}|"), "1,2|c||");
    assert_eq!(
        ps("{{.ImageID}} {{.AutoRemove}} {{.Exited}} {{.Pod}}"),
        format!("{image_id} false false")
    );
    assert_eq!(ps("{{range .}}{{.Names}} {{.State}};{{end}}"), "web created;");
    assert_eq!(ps("{{index .Labels \"a.b\"}}|{{index .Labels \"none\"}}|"), "c||");
    assert_eq!(ps("{{.Created.Format \"2006\"}}").len(), 4);
    assert!(ps("table {{.Names}}\\t{{.Label \"a.b\"}}").starts_with("NAMES     B\nweb       c"));
    assert!(!ps("{{json .}}").contains(" Labels"), "{}", ps("{{json .}}"));
    assert!(!place.usnea(&["ps", "-a", "--format", "json"]).works().contains(" Labels"));
    let images = |template: &str| place.usnea(&["images", "--format", template]).works().to_owned();
    assert_eq!(images("{{.Names}} {{.Containers}} {{.Dangling}}"), "[localhost/shop:1] 1 false");
    assert_eq!(images("{{.Label \"a.b\"}} {{.Labels}}"), "c map[a.b:c]");
    assert_eq!(images("{{eq .Created .CreatedSince}}"), "true");
    let history = ["history", "--format", "{{.Tags}} {{eq .Created .CreatedSince}}", "shop:1"];
    assert!(place.usnea(&history).works().starts_with("[localhost/shop:1] true"));
    let df = ["system", "df", "--format", "{{.Type}} {{.Total}} {{.RawSize}}"];
    let images = place.usnea(&df).works().lines().next().unwrap_or_default().to_owned();
    assert!(images.starts_with("Images 1 ") && !images.ends_with(" 0"), "{images}");
    place.usnea(&["volume", "create", "-l", "k=v", "vol"]).works();
    let volumes = ["volume", "ls", "--format", "{{.Label \"k\"}} {{.Scope}} {{.Links}}"];
    assert!(place.usnea(&volumes).works().contains("v local N/A"));
    place.usnea(&["rm", "web"]).works();
}

#[test]
fn commit_keeps_the_entry_point_apart_from_the_command() {
    let place = shop();
    for (name, options, command, entrypoint, cmd) in [
        ("own", &["--entrypoint", "/bin/echo"][..], &["hi"][..], r#"["/bin/echo"]"#, r#"["hi"]"#),
        ("bare", &["--entrypoint", "/bin/echo"], &[], r#"["/bin/echo"]"#, "[]"),
        ("image", &[], &["echo hi"], r#"["/bin/sh","-c"]"#, r#"["echo hi"]"#),
    ] {
        let words = [&["create", "--name", name], options, &["shop:1"], command].concat();
        place.usnea(&words).works();
        place.usnea(&["commit", "-q", name, name]).works();
        let said = place.field(name, "{{json .Config.Entrypoint}} {{json .Config.Cmd}}");
        assert_eq!(said, format!("{entrypoint} {cmd}"), "{name}");
        place.usnea(&["rm", name]).works();
    }
    place
        .usnea(&[
            "create",
            "--name",
            "rooted",
            "--entrypoint",
            "/bin/echo",
            &place.place.image(),
            "hi",
        ])
        .works();
    place.usnea(&["commit", "-q", "rooted", "rooted"]).works();
    let said = place.field("rooted", "{{json .Config.Entrypoint}} {{json .Config.Cmd}}");
    assert_eq!(said, r#"["/bin/echo"] ["hi"]"#);
    place.usnea(&["rm", "rooted"]).works();
}

#[test]
fn the_version_is_docker_s_document_too_and_has_a_short_flag() {
    let place = Place::new();
    let version = env!("CARGO_PKG_VERSION");
    for template in [
        "{{.Server.Version}}",
        "{{.Client.Version}}",
        "{{.Client.APIVersion}}",
        "{{.Server.ApiVersion}}",
    ] {
        assert_eq!(place.usnea(&["version", "--format", template]).works(), version, "{template}");
    }
    let ran =
        place.usnea(&["version", "--format", "{{.Server.Os}}/{{.Server.Arch}} {{.Client.OsArch}}"]);
    let (one, two) = ran.works().split_once(' ').expect("two words");
    assert_eq!(one, two);
    for flag in ["-v", "-V", "--version"] {
        assert_eq!(place.usnea(&[flag]).works(), format!("usnea {version}"));
    }
}

#[test]
fn inspect_finds_volumes_too_and_info_answers_docker_s_questions() {
    let place = Place::new();
    place.usnea(&["volume", "create", "data"]).works();
    for words in [&["inspect"][..], &["inspect", "--type", "volume"], &["inspect", "--type", "all"]]
    {
        let ran = place.usnea(&[words, &["-f", "{{.Name}} {{.Scope}}", "data"]].concat());
        assert_eq!(ran.works(), "data local", "{words:?}");
    }
    place.usnea(&["inspect", "--type", "image", "data"]).exits(1);
    let none = place.usnea(&["inspect", "none"]);
    none.exits(1);
    assert!(none.stderr.contains("nor a volume"), "{none:?}");
    let info = |template: &str| place.usnea(&["info", "-f", template]).works().to_owned();
    assert_eq!(
        info("{{.Swarm.LocalNodeState}} {{.OSType}} {{.DefaultRuntime}}"),
        "inactive linux usnea"
    );
    assert!(["1", "2", ""].contains(&info("{{.CgroupVersion}}").as_str()));
    assert!(["systemd", "cgroupfs", "none"].contains(&info("{{.CgroupDriver}}").as_str()));
    assert!(info("{{.SecurityOptions}}").contains("name=rootless"));
    assert!(info("{{range $name, $_ := .Runtimes}}{{$name}}{{end}}").contains("usnea"));
    assert_eq!(info("{{.Host.CgroupManager}}"), info("{{.CgroupDriver}}"));
    let format = "{{.HostConfig.Cgroups}} {{.HostConfig.CgroupManager}}";
    for (flags, name) in [(&["--cgroups", "disabled"][..], "without"), (&[], "usual")] {
        place.run_kept(&[flags, &["--name", name]].concat(), "true").works();
        let shown = place.usnea(&["inspect", "-f", format, name]).works().to_owned();
        let with_cgroup = format!("default {}", info("{{.CgroupDriver}}"));
        assert!(
            shown == "disabled none" || (name == "usual" && shown == with_cgroup),
            "{name}: {shown}"
        );
        place.usnea(&["rm", name]).works();
    }
    assert_eq!(
        info("{{.Host.RemoteSocket.Path}}|{{.Host.ServiceIsRemote}}|{{.Plugins.Volume}}"),
        "|false|[local]"
    );
}
