//! Help beyond clap's own: the commands in groups, as docker shows them, and examples at the end of each command's
//! help.

use std::fmt::Write;

use clap::Command;

/// Commands of the first group.
const COMMON: [&str; 12] = [
    "run", "exec", "ps", "logs", "stop", "rm", "pull", "push", "images", "login", "info", "doctor",
];

/// Order of the commands in help, manual and completion. A verb that is both below `usnea` and below `container` or
/// `image` is declared once, and has a place in either list.
const ORDERS: [(&str, &str); 3] = [
    (
        "",
        "run container create start stop restart kill rm ps logs attach commit diff cp exec healthcheck wait inspect \
         rename port top update pause unpause stats events spec image images pull history search manifest network pod \
         oci slurm quadlet generate auto-update push save load import export rmi tag untag cdi secret unshare volume info version system check login logout mount completion \
         doctor",
    ),
    (
        "container",
        "attach clone commit cp create diff export exec exists inspect kill logs pause port ps prune rename restart \
         rm run start stats stop top unpause update wait",
    ),
    (
        "image",
        "ls inspect history tree diff search exists pull push save load import export scp spread rm tag untag prune",
    ),
];

/// Template of the top-level help: the groups of commands are in `{after-help}`.
const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}\n\n\
     Run 'usnea COMMAND --help' for the options and examples of a command.\n";

/// Examples for a command, by its words behind `usnea`. `container X` and `image X` share those of the short form.
#[rustfmt::skip]
const EXAMPLES: &[(&str, &[&str])] = &[
    ("attach", &["usnea attach web", "usnea attach --detach-keys ctrl-x web"]),
    ("auto-update", &["usnea auto-update --dry-run", "usnea auto-update"]),
    ("check", &["usnea check", "usnea check --repair"]),
    ("commit", &["usnea commit web localhost/web:2", "usnea commit --change 'CMD [\"bash\"]' web localhost/web"]),
    ("completion", &["usnea completion bash > ~/.local/share/bash-completion/completions/usnea"]),
    ("container", &["usnea container ps --all"]),
    ("container clone", &["usnea container clone web web2", "usnea container clone --destroy --memory 1g web web2"]),
    ("container exists", &["usnea container exists web && echo yes"]),
    ("container prune", &["usnea container prune", "usnea container prune --force"]),
    ("cp", &["usnea cp web:/etc/hosts .", "usnea cp ./page.html web:/srv/"]),
    ("create", &["usnea create --name web debian:12 sleep 100"]),
    ("diff", &["usnea diff web"]),
    ("doctor", &["usnea doctor"]),
    ("events", &["usnea events --since 10m", "usnea events --filter type=container"]),
    ("exec", &["usnea exec -it web bash", "usnea exec -u 1000 web id"]),
    ("export", &["usnea export -o root.tar web"]),
    ("generate", &["usnea generate systemd --new --name web"]),
    ("generate systemd", &["usnea generate systemd --new --name web > ~/.config/systemd/user/web.service", "usnea generate systemd --files --name --restart-policy always shop"]),
    ("healthcheck", &["usnea healthcheck run web"]),
    ("healthcheck run", &["usnea healthcheck run web"]),
    ("history", &["usnea history debian:12", "usnea history --no-trunc debian:12"]),
    ("image", &["usnea image ls"]),
    ("image diff", &["usnea image diff localhost/web:2 debian:12"]),
    ("image exists", &["usnea image exists debian:12 || usnea pull debian:12"]),
    ("image export", &["usnea image export -o root.tar debian:12"]),
    ("image inspect", &["usnea image inspect --format '{{.Config.User}}' debian:12"]),
    ("image ls", &["usnea image ls", "usnea image ls --format '{{.Repository}}:{{.Tag}}'"]),
    ("image prune", &["usnea image prune", "usnea image prune --all --force"]),
    ("image rm", &["usnea image rm debian:12"]),
    (
        "image scp",
        &["usnea image scp debian:12 me@box::", "usnea image scp --program podman me@box::web:2"],
    ),
    (
        "image spread",
        &["usnea image spread debian:12", "usnea image spread --rank 1 --ranks 4 --address n1:7000 debian:12", "usnea image spread --to /local/app.sqsh /shared/app.sqsh"],
    ),
    ("image tree", &["usnea image tree"]),
    ("images", &["usnea images", "usnea images --format '{{.Repository}}:{{.Tag}}'"]),
    ("import", &["usnea import root.tar localhost/base:1"]),
    ("info", &["usnea info", "usnea info --format json"]),
    ("inspect", &["usnea inspect web", "usnea inspect --format '{{.State.Status}}' web"]),
    ("kill", &["usnea kill web", "usnea kill --signal HUP web"]),
    ("load", &["usnea load -i image.tar"]),
    ("login", &["usnea login registry.example.org", "usnea login -u jo --password-stdin registry.example.org"]),
    ("logout", &["usnea logout registry.example.org"]),
    ("logs", &["usnea logs -f web", "usnea logs --since 10m --tail 100 web"]),
    ("manifest", &["usnea manifest create localhost/app:1 localhost/app:amd64 localhost/app:arm64"]),
    ("manifest add", &["usnea manifest add localhost/app:1 localhost/app:arm64"]),
    ("manifest annotate", &["usnea manifest annotate --variant v8 localhost/app:1 localhost/app:arm64"]),
    ("manifest create", &["usnea manifest create localhost/app:1 localhost/app:amd64 localhost/app:arm64"]),
    ("manifest exists", &["usnea manifest exists localhost/app:1 && echo yes"]),
    ("manifest inspect", &["usnea manifest inspect debian:12"]),
    ("manifest push", &["usnea manifest push --all localhost/app:1 docker://registry.example.org/app:1"]),
    ("manifest remove", &["usnea manifest remove localhost/app:1 localhost/app:arm64"]),
    ("manifest rm", &["usnea manifest rm localhost/app:1"]),
    ("mount", &["usnea mount squashfs tree.sqsh merged", "usnea mount overlay -o lowerdir=b:a,upperdir=u,workdir=w merged"]),
    ("mount overlay", &["usnea mount overlay -o lowerdir=b:a,upperdir=u,workdir=w merged"]),
    ("mount squashfs", &["usnea mount squashfs tree.sqsh tree", "usnea mount squashfs -o offset=40960,nosuid app.sif tree"]),
    ("network", &["usnea network ls"]),
    ("network connect", &["usnea network connect backend web", "usnea network connect --alias db --ip 10.5.0.7 backend web"]),
    ("network create", &["usnea network create backend", "usnea network create --subnet 10.5.0.0/24 --internal backend"]),
    ("network disconnect", &["usnea network disconnect backend web"]),
    ("network exists", &["usnea network exists backend && echo yes"]),
    ("network inspect", &["usnea network inspect backend", "usnea network inspect --format '{{json .Containers}}' backend"]),
    ("network ls", &["usnea network ls", "usnea network ls --filter type=custom"]),
    ("network prune", &["usnea network prune"]),
    ("network reload", &["usnea network reload web", "usnea network reload --all"]),
    ("network rm", &["usnea network rm backend", "usnea network rm --force backend"]),
    ("pause", &["usnea pause web"]),
    ("oci", &["usnea oci run --bundle folder box", "usnea oci list"]),
    ("oci checkpoint", &["usnea oci checkpoint web"]),
    ("oci create", &["usnea oci create --bundle ./bundle web"]),
    ("oci delete", &["usnea oci delete web", "usnea oci delete --force web"]),
    ("oci events", &["usnea oci events --stats web"]),
    ("oci exec", &["usnea oci exec web id", "usnea oci exec --process process.json --detach web"]),
    ("oci features", &["usnea oci features"]),
    ("oci kill", &["usnea oci kill web", "usnea oci kill web KILL"]),
    ("oci list", &["usnea oci list", "usnea oci list --format json"]),
    ("oci pause", &["usnea oci pause web"]),
    ("oci ps", &["usnea oci ps web"]),
    ("oci restore", &["usnea oci restore web"]),
    ("oci resume", &["usnea oci resume web"]),
    ("oci run", &["usnea oci run --bundle ./bundle web"]),
    ("oci spec", &["usnea oci spec --rootless"]),
    ("oci start", &["usnea oci start web"]),
    ("oci state", &["usnea oci state web"]),
    ("oci update", &["usnea oci update --memory 64m web"]),
    ("pod", &["usnea pod ps"]),
    ("pod create", &["usnea pod create shop", "usnea pod create -p 8080:80 --network backend shop"]),
    ("pod exists", &["usnea pod exists shop && echo yes"]),
    ("pod inspect", &["usnea pod inspect shop", "usnea pod inspect --format '{{.State}}' shop"]),
    ("pod kill", &["usnea pod kill --signal HUP shop"]),
    ("pod logs", &["usnea pod logs shop", "usnea pod logs --names --follow --tail 10 shop"]),
    ("pod pause", &["usnea pod pause shop"]),
    ("pod prune", &["usnea pod prune"]),
    ("pod ps", &["usnea pod ps", "usnea pod ps --ctr-names --filter status=running"]),
    ("pod restart", &["usnea pod restart shop"]),
    ("pod rm", &["usnea pod rm shop", "usnea pod rm --force shop"]),
    ("pod start", &["usnea pod start shop"]),
    ("pod stats", &["usnea pod stats", "usnea pod stats --no-stream shop"]),
    ("pod stop", &["usnea pod stop --time 5 shop"]),
    ("pod top", &["usnea pod top shop", "usnea pod top shop -o pid,user,args"]),
    ("pod unpause", &["usnea pod unpause shop"]),
    ("port", &["usnea port web", "usnea port web 80/tcp"]),
    ("ps", &["usnea ps", "usnea ps --all --filter status=exited"]),
    ("pull", &["usnea pull debian:12", "usnea pull --platform linux/arm64 alpine:3.22", "usnea pull --to debian.sqsh debian:12"]),
    ("push", &["usnea push localhost/web:2 registry.example.org/web:2", "usnea push sqsh:web.sqsh registry.example.org/web:2"]),
    ("quadlet", &["usnea quadlet ls"]),
    ("quadlet check", &["usnea quadlet check", "usnea quadlet check web.container"]),
    ("quadlet install", &["usnea quadlet install web.container data.volume", "usnea quadlet install --replace units"]),
    ("quadlet list", &["usnea quadlet list", "usnea quadlet list --format json"]),
    ("quadlet print", &["usnea quadlet print web.container", "usnea quadlet print --service web.container"]),
    ("quadlet rm", &["usnea quadlet rm web.container", "usnea quadlet rm --force --all"]),
    ("rename", &["usnea rename web old-web"]),
    ("restart", &["usnea restart web"]),
    ("rm", &["usnea rm web", "usnea rm --force --volumes web"]),
    ("rmi", &["usnea rmi debian:12"]),
    ("run", &["usnea run --rm -it debian:12 bash", "usnea run -d --name web -p 8080:80 -v data:/srv nginx", "usnea run --rm --overlay env debian:12 sh", "usnea run --rm host:bash,ls bash -c 'ls /'", "usnea run --hpc app.sqsh simulate"]),
    ("save", &["usnea save -o image.tar debian:12", "usnea save --format squashfs -o web.sqsh web", "usnea save -o app.tar sif:app.sif"]),
    ("search", &["usnea search debian", "usnea search --list-tags registry.example.org/app"]),
    ("cdi", &["usnea cdi list"]),
    ("cdi check", &["usnea cdi check"]),
    ("cdi generate", &["usnea cdi generate", "usnea cdi generate --vendor amd"]),
    ("cdi hook", &["usnea cdi hook chmod --mode 755 --path /dev/dri"]),
    ("cdi hook chmod", &["usnea cdi hook chmod --mode 755 --path /dev/dri"]),
    ("cdi hook create-symlinks", &["usnea cdi hook create-symlinks --link libcuda.so.1::/usr/lib64/libcuda.so"]),
    ("cdi hook update-ldcache", &["usnea cdi hook update-ldcache --folder /usr/lib64"]),
    ("cdi list", &["usnea cdi list", "usnea cdi list --quiet", "usnea run --rm --device nvidia.com/gpu=0 debian:12 ls /dev"]),
    ("secret", &["usnea secret ls"]),
    ("secret create", &["usnea secret create db-password password.txt", "usnea secret create --env token TOKEN", "usnea run --rm --secret db-password,mode=400 debian:12 cat /run/secrets/db-password"]),
    ("secret exists", &["usnea secret exists db-password && echo yes"]),
    ("secret inspect", &["usnea secret inspect db-password"]),
    ("secret ls", &["usnea secret ls", "usnea secret ls --filter name=db"]),
    ("secret rm", &["usnea secret rm db-password"]),
    ("slurm", &["usnea slurm bundle debian:12 ~/debian"]),
    ("slurm bundle", &["usnea slurm bundle debian:12 ~/debian", "usnea slurm bundle ./app.sqsh ~/app -- --userns keep-id -v /scratch:/scratch"]),
    ("spec", &["usnea spec debian:12 bash > config.json"]),
    ("start", &["usnea start web", "usnea start -ai web"]),
    ("stats", &["usnea stats", "usnea stats --no-stream web"]),
    ("stop", &["usnea stop web", "usnea stop --time 30 web"]),
    ("system", &["usnea system df"]),
    ("system df", &["usnea system df", "usnea system df -v"]),
    ("system events", &["usnea system events --since 10m"]),
    ("system info", &["usnea system info"]),
    ("system prune", &["usnea system prune", "usnea system prune --all --volumes"]),
    ("system reset", &["usnea system reset"]),
    ("tag", &["usnea tag debian:12 localhost/base:1"]),
    ("top", &["usnea top web", "usnea top web -o pid,args"]),
    ("unpause", &["usnea unpause web"]),
    ("unshare", &["usnea unshare id", "usnea unshare rm -r shared-folder"]),
    ("untag", &["usnea untag debian:12"]),
    ("update", &["usnea update --memory 1g --cpus 2 web", "usnea update --restart always web"]),
    ("version", &["usnea version"]),
    ("volume", &["usnea volume ls"]),
    ("volume create", &["usnea volume create data"]),
    ("volume exists", &["usnea volume exists data && echo yes"]),
    ("volume export", &["usnea volume export -o data.tar data"]),
    ("volume import", &["usnea volume import data data.tar"]),
    ("volume inspect", &["usnea volume inspect data"]),
    ("volume ls", &["usnea volume ls"]),
    ("volume prune", &["usnea volume prune"]),
    ("volume rm", &["usnea volume rm data"]),
    ("wait", &["usnea wait web"]),
];

/// Returns the grammar with its whole help. Costs as much as listing a thousand containers: for help and the manual
/// alone.
pub fn complete(command: Command) -> Command {
    let command = with_examples(command, "");
    let groups = groups(&command);
    command.help_template(TEMPLATE).after_help(groups)
}

/// Adds the examples of `command`, whose words behind `usnea` are `path`, and of all below it, and puts those in order.
fn with_examples(command: Command, path: &str) -> Command {
    let names = in_order(&command, path).into_iter().enumerate();
    let command = names.fold(command, |command, (at, name)| {
        let path = format!("{path} {name}").trim_start().to_owned();
        // The changed command becomes the last one of the list.
        command.mut_subcommand(name, |below| with_examples(below, &path).display_order(at))
    });
    match examples(path) {
        [] => command,
        lines => command.after_help(format!("Examples:\n  {}", lines.join("\n  "))),
    }
}

/// Returns the names of the commands below `command`, in the order of the help.
fn in_order(command: &Command, path: &str) -> Vec<String> {
    let mut names: Vec<String> =
        command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    if let Some((_, order)) = ORDERS.iter().find(|(name, _)| *name == path) {
        names.sort_by_key(|name| order.split(' ').position(|ordered| ordered == name));
    }
    names
}

/// Returns the examples for a command, by its words behind `usnea`.
pub fn examples(path: &str) -> &'static [&'static str] {
    let of = |path: &str| EXAMPLES.iter().find(|(name, _)| *name == path).map(|(_, lines)| *lines);
    let short = || {
        let short = path.strip_prefix("container ").or_else(|| path.strip_prefix("image "));
        short.and_then(of)
    };
    of(path).or_else(short).unwrap_or_default()
}

/// Formats the commands, in docker's three groups.
fn groups(command: &Command) -> String {
    let visible = || command.get_subcommands().filter(|below| !below.is_hide_set());
    let is_common = |below: &Command| COMMON.contains(&below.get_name());
    // Arguments are built late (see `late`), so that subcommands are unknown here: the first word of the help tells.
    let manages = |below: &Command| {
        let about = below.get_about().map(ToString::to_string).unwrap_or_default();
        about.starts_with("Manage ")
    };
    let common: Vec<&Command> =
        COMMON.iter().filter_map(|name| command.find_subcommand(name)).collect();
    let managing: Vec<&Command> = visible().filter(|below| manages(below)).collect();
    let others: Vec<&Command> =
        visible().filter(|below| !is_common(below) && !manages(below)).collect();
    let mut text = String::new();
    for (title, commands) in
        [("Common Commands", common), ("Management Commands", managing), ("Commands", others)]
    {
        let _ = write!(text, "\n\n{title}:");
        for below in commands {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = write!(text, "\n  {:<12} {}", below.get_name(), about.trim_end_matches('.'));
        }
    }
    text.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn each(command: &Command, path: &str, check: &mut impl FnMut(&str)) {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            let path = format!("{path} {}", below.get_name()).trim_start().to_owned();
            check(&path);
            each(below, &path, check);
        }
    }

    #[test]
    fn every_command_has_examples_and_every_example_has_a_command() {
        let command = super::super::command();
        let mut paths = Vec::new();
        each(&command, "", &mut |path| paths.push(path.to_owned()));
        let without: Vec<_> = paths.iter().filter(|path| examples(path).is_empty()).collect();
        assert!(without.is_empty(), "no examples: {without:?}");
        let unknown = EXAMPLES.iter().map(|(name, _)| name);
        let unknown: Vec<_> =
            unknown.filter(|name| !paths.iter().any(|path| path == *name)).collect();
        assert!(unknown.is_empty(), "no such command: {unknown:?}");
    }

    #[test]
    fn an_order_has_each_command_once() {
        let command = super::super::command();
        for (path, order) in ORDERS {
            let parent = match path {
                "" => &command,
                path => command.find_subcommand(path).expect("a command"),
            };
            let names: Vec<_> = parent.get_subcommands().map(Command::get_name).collect();
            assert_eq!(names.join(" "), order, "{path}");
        }
    }

    /// Splits words as a shell does, up to the first operator.
    fn words(line: &str) -> Vec<String> {
        let end = [" > ", " && ", " || "].iter().filter_map(|operator| line.find(operator)).min();
        shlex::split(&line[..end.unwrap_or(line.len())]).expect("words")
    }

    #[test]
    fn examples_are_accepted_by_the_grammar() {
        for line in EXAMPLES.iter().flat_map(|(_, lines)| *lines) {
            let parsed = super::super::with_help().try_get_matches_from(words(line));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn a_command_is_described_alike_in_lists_and_in_its_own_help() {
        let list = super::super::Arguments::command();
        let built = super::super::command();
        for below in list.get_subcommands() {
            let own = built.find_subcommand(below.get_name()).and_then(Command::get_about);
            assert_eq!(own.map(ToString::to_string), below.get_about().map(ToString::to_string));
        }
    }

    #[test]
    fn every_command_is_in_one_group() {
        let command = super::super::command();
        let text = groups(&command);
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            let begin = format!("\n  {:<12} ", below.get_name());
            assert_eq!(text.matches(&begin).count(), 1, "{begin}{text}");
        }
    }
}
