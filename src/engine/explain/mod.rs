//! Prints a plan as commands of a shell (`--explain`). Changes nothing.
//!
//! The text is a script for a POSIX shell, with the same effect as the plan. Where the engine uses descriptors, the
//! script uses paths below `$root`. Where the engine makes processes, it uses unshare(1) and nsenter(1). After
//! pivot_root the host's programs are gone: umount and setpriv are those of the new root.

mod credentials;
mod hooks;
mod images;
mod network;
mod quote;
mod scheduling;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use quote::quote;

use crate::cgroup;
use crate::engine::plan::Plan;
use crate::engine::plan::mount::{MountOwners, MountSource, PlannedMount};
use crate::engine::plan::namespace::{JoinedNamespace, NamespacesToJoin};
use crate::engine::plan::process::{ExecCommand, Reaper};
use crate::engine::plan::scheduling::IoPriority;
use crate::engine::plan::secrets::SecretFile;
use crate::engine::plan::step::{Step, Supervised};
use crate::engine::streams::Stdin;
use crate::ids::{BaseIds, HostIds, IdMap, IdMaps, IdPair};
use crate::layer::override_stat::Records;
use crate::security::landlock::LandlockRules;
use crate::security::seccomp::{Filter, FilterProfile};
use crate::spec::{RECORDED_LOWERS, RUN_INIT, SECRETS, Stacking, StorageDriver};
use crate::sys::mount::{Attributes, MountReach, Propagation};
use crate::sys::namespace::Namespaces;
use crate::userns::Writer;

/// Returns the script. `folder` is the container's own; the `layers` that the script makes there on disk are removed at
/// the end. Layers in memory need no removal.
pub fn explain(plan: &Plan, folder: &Path, layers: &[PathBuf]) -> String {
    let mut script = ShellScript { folder: folder.to_owned(), ..ShellScript::default() };
    let on_disk = plan.options.layers.is_none() && !layers.is_empty();
    script.line("PATH=$PATH:/usr/sbin:/sbin");
    script.line(&format!("root={}", quote(&folder.join("merged").to_string_lossy())));
    if on_disk {
        script.step("make the disposable layers");
        script.folders(layers);
    } else if let Some(memory) = &plan.options.layers {
        script.line(&format!("mkdir -p {}", quote(&memory.on.to_string_lossy())));
    }
    for step in &plan.steps {
        script.step(&step.doing());
        script.commands(step, plan);
    }
    script.line("INSIDE");
    script.line("status=$?");
    script.step("clean up");
    script.line(&format!(
        "kill $base{}",
        if plan.levels.container.is_some() { " $container" } else { "" }
    ));
    if on_disk {
        let remove = format!("rm -rf {}", quote(&folder.to_string_lossy()));
        // Files of subordinate IDs can be removed only where the IDs are mapped; the overlay's mode 000 folder only by
        // a root.
        script.line(&match plan.levels.base.writer {
            Writer::Helpers(_) => format!("unshare --user --map-root-user --map-auto {remove}"),
            Writer::Itself => format!("unshare --user --map-root-user {remove}"),
            Writer::Root | Writer::Nobody => remove,
        });
    }
    script.line("(exit $status)");
    script.text
}

#[derive(Default)]
struct ShellScript {
    folder: PathBuf,
    text: String,
    number: usize,
}

impl ShellScript {
    fn step(&mut self, doing: &str) {
        self.number += 1;
        let _ = writeln!(self.text, "# {}. {doing}", self.number);
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    fn lines(&mut self, lines: &[String]) {
        lines.iter().for_each(|line| self.line(line));
    }

    fn folders(&mut self, folders: &[PathBuf]) {
        let folders: Vec<String> =
            folders.iter().map(|path| quote(&path.to_string_lossy())).collect();
        self.line(&format!("mkdir -p {}", folders.join(" ")));
    }

    fn secrets(&mut self, files: &[SecretFile]) {
        self.line(&format!(
            "mkdir -p \"$root\"{SECRETS}; mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs \"$root\"{SECRETS}"
        ));
        for file in files {
            let target = below(&file.target);
            self.line(&format!("# (the secret is written to {target})"));
            self.line(&format!("chown {}:{} {target}", file.uid, file.gid));
            self.line(&format!("chmod {:o} {target}", file.mode));
        }
    }

    fn cgroup(&mut self, wanted: &cgroup::CgroupRequest) {
        let folder = quote(&wanted.folder().to_string_lossy());
        if let Some((scope, slice)) = wanted.scope() {
            let slice = slice.map(|slice| format!(" --slice={}", quote(slice))).unwrap_or_default();
            self.line(&format!(
                "# (in: systemd-run --user --scope -p Delegate=yes{slice} --unit={scope} bash)"
            ));
        }
        self.line(&format!("mkdir {folder}"));
        for setting in wanted.limits.settings() {
            self.line(&format!("echo {} > {folder}/{}", quote(&setting.value), setting.file));
        }
        self.line("# (the container's process is made in it, and its cgroup namespace there: unshare --cgroup)");
    }

    fn commands(&mut self, step: &Step, plan: &Plan) {
        match step {
            Step::Join(running) => {
                self.line(&format!("nsenter --target {} --all", running.pid()));
            }
            Step::Cgroup(wanted, _) => self.cgroup(wanted),
            Step::Network => self.lines(&network::connect(&plan.options.network)),
            Step::Connect => self.lines(&network::finish(&plan.options.network)),
            Step::Files(files) => {
                for file in files {
                    let content = quote(&file.content);
                    self.line(&format!("printf %s {content} > \"$root\"{}", file.path));
                }
            }
            Step::Secrets(files) => self.secrets(files),
            Step::Accounts(entries) => {
                for entry in entries {
                    let line = quote(&entry.line);
                    self.line(&format!("echo {line} >> \"$root\"{}", entry.path));
                }
            }
            Step::OomScore(score) => self.line(&format!("choom -n {score} -p $$")),
            Step::Layers(layers) => {
                let on = quote(&layers.on.to_string_lossy());
                self.line(&format!("mount -t tmpfs -o mode=700,nosuid,nodev layers {on}"));
                self.folders(&layers.folders);
            }
            Step::Namespaces(_) => {
                self.line("unshare --user sleep 1000 & base=$!");
                self.line("until [ \"$(readlink /proc/$base/ns/user)\" != \"$(readlink /proc/self/ns/user)\" ]; do :; done");
            }
            Step::JoinNamespaces(join) => self.join(join, plan),
            Step::Maps(maps) => {
                self.maps(maps, &plan.levels.base.writer);
                let alone = !plan.steps.iter().any(|step| matches!(step, Step::Container(..)));
                if alone {
                    self.enter("base", plan.first_namespaces(), "");
                }
            }
            Step::Container(namespaces, None) => {
                self.enter("base", namespaces.with(made_in_base(plan)), &joined_options(plan))
            }
            Step::Container(namespaces, Some(maps)) => {
                self.line("nsenter --user --preserve-credentials --target $base unshare --user sleep 1000 & container=$!");
                self.line("until [ \"$(readlink /proc/$container/ns/user)\" != \"$(readlink /proc/$base/ns/user)\" ] && [ \"$(readlink /proc/$container/ns/user)\" != \"$(readlink /proc/self/ns/user)\" ]; do :; done");
                for (name, map) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
                    self.line(&format!(
                        "printf '{}' | nsenter --user --preserve-credentials --target $base tee /proc/$container/{name} > /dev/null",
                        numbers(map, " ", "\\n")
                    ));
                }
                self.enter("container", *namespaces, &joined_options(plan));
            }
            Step::BecomeRoot { .. } => self.line("# (unshare has done that)"),
            Step::Root(mount) => {
                self.line("mkdir -p \"$root\"");
                self.mount(mount, "\"$root\"", plan);
                self.line("cd \"$root\"");
            }
            Step::Mount(mount) => {
                let target = below(&mount.target);
                self.line(&match mount.kind {
                    crate::sys::inroot::MountPointKind::Directory => format!("mkdir -p {target}"),
                    crate::sys::inroot::MountPointKind::File => {
                        format!("[ -e {target} ] || : > {target}")
                    }
                });
                self.mount(mount, &target, plan);
            }
            Step::Link { target, name } => {
                self.line(&format!("ln -s {target} {}", below(&Path::new("/dev").join(name))))
            }
            Step::Loopback => self.line("ip link set lo up"),
            Step::Sysctl { path, value, .. } => {
                self.line(&format!(
                    "printf %s {} > {}",
                    quote(value),
                    below(&Path::new("/proc/sys").join(path))
                ));
            }
            Step::Mask(path) => {
                let path = below(path);
                self.line(&format!(
                    "if [ -d {path} ]; then mount -t tmpfs -o ro,size=0 masked {path}; elif [ -e {path} ]; then mount --bind /dev/null {path}; fi"
                ));
            }
            Step::ReadOnly(path) => {
                let path = below(path);
                self.line(&format!(
                    "if [ -e {path} ]; then mount --rbind {path} {path} && mount -o remount,bind,ro {path}; fi"
                ));
            }
            Step::TimeOffsets(lines) => {
                self.line(
                    "# (options of the next unshare: --time, with these lines of timens_offsets)",
                );
                lines.lines().for_each(|line| self.line(&format!("#   {line}")));
            }
            Step::RootPropagation(propagation, reach) => {
                let word = propagation_word(*propagation, *reach);
                self.line(&format!("mount --make-{word} ."));
            }
            Step::Fifo { path, mode } => {
                let path = below(path);
                self.line(&format!("[ -p {path} ] || mkfifo -m {mode:o} {path}"));
            }
            Step::SymbolicLink { path, target } => {
                let target = quote(&target.to_string_lossy());
                self.line(&format!("ln -s {target} {}", below(path)));
            }
            Step::Scheduler(attributes) => self.lines(&scheduling::scheduler(attributes)),
            Step::IoPriority(IoPriority { class, level }) => {
                let level = if *class == 3 { String::new() } else { format!(" -n {level}") };
                self.line(&format!("ionice -c {class}{level} -p $$"));
            }
            Step::CpuAffinity(list) if list.text.is_empty() => {
                self.line("taskset -cp 0-$(($(nproc --all) - 1)) $$")
            }
            Step::CpuAffinity(list) => self.line(&format!("taskset -cp {} $$", list.text)),
            Step::MemoryPolicy(policy) => self.line(&scheduling::memory(policy)),
            Step::SecurityLabel(label) => {
                let file = label.files.first().copied().unwrap_or_default();
                let value = quote(&label.value);
                self.line(&format!("printf %s {value} > /proc/thread-self/attr/{file}"));
            }
            Step::Terminal(_) => {
                self.line("# (a new terminal of $root/dev/pts, bound onto $root/dev/console)")
            }
            Step::PivotRoot => {
                self.line("pivot_root . .");
                self.line("# (the host's programs are gone: umount and setpriv are the new root's, which must have them)");
                self.line("umount -l .");
                self.line("cd /");
            }
            Step::ReadOnlyRoot => self.line("mount -o remount,bind,ro /"),
            Step::Hostname(name) => self.line(&format!("hostname {}", quote(name))),
            Step::Domainname(name) => self.line(&format!("domainname {}", quote(name))),
            Step::Personality(_) => self.line("# (setarch in the last step)"),
            Step::Limit(limit) => {
                // ulimit is built into the shell: the root may have no prlimit(1), and nearly every container gets this
                // limit.
                if limit.resource == nix::sys::resource::Resource::RLIMIT_NOFILE {
                    self.line(&format!("ulimit -S -n {}; ulimit -H -n {}", limit.soft, limit.hard));
                    return;
                }
                let name = limit.name.trim_start_matches("RLIMIT_").to_lowercase();
                self.line(&format!("prlimit --pid $$ --{name}={}:{}", limit.soft, limit.hard));
            }
            Step::WorkingFolder(path) => {
                let path = quote(&path.to_string_lossy());
                self.line(&format!("[ -d {path} ] || mkdir -p {path}; cd {path}"));
            }
            Step::Hooks(point) => self.lines(&hooks::commands(&plan.hooks, *point)),
            Step::Hold | Step::HoldAtFifo => {
                self.line("# (the container is created: its command waits for the start)")
            }
            Step::Umask(mask) => self.line(&format!("umask {mask:04o}")),
            Step::Landlock(domain) => self.landlock(&domain.rules),
            Step::Credentials(_) | Step::NoNewPrivileges => {
                self.line("# (options of setpriv in the last step)")
            }
            Step::Seccomp(filter, supervised) => self.filter(filter, supervised.as_ref()),
            Step::Exec(command) => self.exec(command, plan),
        }
    }

    /// Enters the base of another container, and its namespaces. A sleeping process there keeps them open for the later
    /// commands.
    fn join(&mut self, join: &NamespacesToJoin, plan: &Plan) {
        let user = join.namespaces.first().and_then(|joined| joined.path.parent());
        let user = user.unwrap_or(Path::new("/")).join("user");
        let mount = if plan.levels.container.is_some() { " unshare --mount" } else { "" };
        self.line(&format!(
            "nsenter --preserve-credentials --user={}{}{mount} sleep 1000 & base=$!",
            quote(&user.to_string_lossy()),
            joined_options(plan)
        ));
    }

    fn filter(&mut self, filter: &Filter, supervised: Option<&Supervised>) {
        self.line(&format!(
            "# (seccomp(2), a filter of {} instructions; 'usnea spec' shows it as linux.seccomp)",
            filter.program.len()
        ));
        if matches!(filter.profile, FilterProfile::Builtin) {
            self.line("#   docker's default profile");
        }
        for rule in filter.rules() {
            self.line(&format!("#   {:?}: {}", rule.action, rule.calls.join(" ")));
        }
        if let Some(supervised) = supervised {
            self.line(&format!("# (those of Notify are answered by a process of usnea beside the command: {:?} as if root had all IDs)", supervised.emulation));
        }
    }

    fn landlock(&mut self, rules: &LandlockRules) {
        self.line("# (landlock_restrict_self(2), by rules for files below these paths)");
        for (right, paths) in
            [("read", &rules.read), ("execute", &rules.execute), ("write", &rules.write)]
        {
            let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
            self.line(&format!("#   {right}: {}", paths.join(" ")));
        }
    }

    fn maps(&mut self, maps: &IdMaps<BaseIds, HostIds>, writer: &Writer) {
        match writer {
            Writer::Helpers(helpers) => {
                self.line(&format!(
                    "{} $base {}",
                    helpers.newuidmap.display(),
                    numbers(&maps.uids, " ", " ")
                ));
                self.line(&format!(
                    "{} $base {}",
                    helpers.newgidmap.display(),
                    numbers(&maps.gids, " ", " ")
                ));
            }
            _ => {
                if *writer == Writer::Itself {
                    self.line("printf deny > /proc/$base/setgroups");
                }
                self.line(&format!(
                    "printf '{}' > /proc/$base/uid_map",
                    numbers(&maps.uids, " ", "\\n")
                ));
                self.line(&format!(
                    "printf '{}' > /proc/$base/gid_map",
                    numbers(&maps.gids, " ", "\\n")
                ));
            }
        }
    }

    fn enter(&mut self, who: &str, namespaces: Namespaces, joined: &str) {
        let options: Vec<&str> = Namespaces::ALL
            .iter()
            .filter(|(namespace, ..)| namespaces.without(Namespaces::USER).contains(*namespace))
            .map(|(_, _, option)| *option)
            .collect();
        self.line(&format!(
            "nsenter --user --preserve-credentials --target ${who}{joined} \\\n  unshare {} --fork --kill-child setsid --wait \\\n  env -i PATH=\"$PATH\" root=\"$root\" sh -e /dev/fd/3 3<<'INSIDE'",
            options.join(" ")
        ));
    }

    fn stack(
        &mut self,
        stacking: Stacking,
        lowers: &[&Path],
        upper: Option<&(PathBuf, PathBuf)>,
        mut options: Vec<String>,
        target: &str,
    ) {
        match stacking.driver {
            StorageDriver::Overlay => {
                if stacking.idmapped {
                    self.line("# (each layer over itself, as root of the host: mount --bind -o X-mount.idmap=/proc/$container/ns/user)");
                }
                self.line(&format!(
                    "mount -t overlay{} overlay {target}",
                    dash_o(&options.join(","))
                ));
            }
            StorageDriver::Fuse => {
                options.extend(match stacking.records {
                    Records::Nowhere => None,
                    Records::InLowers => Some(RECORDED_LOWERS.to_owned()),
                    Records::Everywhere => Some("xattr_permissions=2".to_owned()),
                });
                let options = dash_o(&options.join(","));
                self.line(&format!("usnea mount overlay{options} {target}"));
            }
            StorageDriver::Copy => {
                let upper = upper.map_or(Path::new("/"), |(upper, _)| upper).to_string_lossy();
                for lower in lowers.iter().rev() {
                    let lower = quote(&lower.join(".").to_string_lossy());
                    self.line(&format!("cp -a --reflink=auto {lower} {}", quote(&upper)));
                }
                self.line(&format!("mount --bind {} {target}", quote(&upper)));
            }
        }
    }

    fn mount(&mut self, mount: &PlannedMount, target: &str, plan: &Plan) {
        let attributes = mount.attributes.options();
        match &mount.source {
            MountSource::New { fs, source, options } => {
                let all = options_text(&attributes, options);
                self.line(&format!("mount -t {fs}{} {} {target}", dash_o(&all), quote(source)));
            }
            MountSource::Overlay { stacking, lowers: layers, upper, flags } => {
                let (paths, offsets) = self.lower_paths(stacking.driver, layers);
                let lowers: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
                let mut options =
                    vec![format!("lowerdir={}", crate::sys::mount::joined_lowers(&lowers))];
                options.extend(offsets);
                if let (Some((upper, _)), Some(top)) = (upper, layers.get(stacking.real_lowers)) {
                    let shown = paths.get(stacking.real_lowers);
                    self.root_mode(top, shown.map_or(top.path(), PathBuf::as_path), upper);
                }
                if let Some((upper, work)) = upper {
                    options.push(format!(
                        "upperdir={},workdir={}",
                        upper.display(),
                        work.display()
                    ));
                }
                options.extend(flags.iter().cloned());
                if !attributes.is_empty() {
                    options.push(attributes);
                }
                self.stack(*stacking, &lowers, upper.as_ref(), options, target);
            }
            MountSource::Image(image) => {
                let mut options = vec![attributes];
                options.extend((image.offset > 0).then(|| format!("offset={}", image.offset)));
                let (options, path) =
                    (dash_o(&options.join(",")), quote(&image.path.to_string_lossy()));
                self.line(&format!("usnea mount squashfs{options} {path} {target}"));
            }
            MountSource::SharedMemory(pid) => {
                self.line(&format!("# (open_tree(2) in the mount namespace of process {pid}, then move_mount(2): the other container's /dev/shm)"));
                self.line(&format!("mount -t tmpfs -o nosuid,noexec,nodev,mode=1777 shm {target}"));
            }
            MountSource::Bind(path, reach) => match &mount.subpath {
                Some(subpath) => self.bind(mount, &path.join(subpath), *reach, target, plan),
                None => self.bind(mount, path, *reach, target, plan),
            },
        }
        if let Some((propagation, reach)) = mount.propagation {
            self.line(&format!("mount --make-{} {target}", propagation_word(propagation, reach)));
        }
    }

    fn bind(
        &mut self,
        mount: &PlannedMount,
        path: &Path,
        reach: MountReach,
        target: &str,
        plan: &Plan,
    ) {
        if mount.copy_up {
            let volume = quote(&path.to_string_lossy());
            self.line(&format!("mkdir -p {volume}"));
            self.line(&format!("[ -n \"$(ls -A {volume})\" ] || cp -a {target}/. {volume}/"));
        }
        if mount.owners == MountOwners::TheUsers
            && let Some(IdPair { uid, gid }) = plan.user_in_base()
        {
            let path = quote(&path.to_string_lossy());
            let (uid, gid) = (uid.number(), gid.number());
            self.line(&format!("find {path} -xdev -exec chown -h {uid}:{gid} {{}} +"));
        }
        if matches!(mount.owners, MountOwners::Mapped(_)) {
            self.line("# (as root of the host, with: -o X-mount.idmap=/proc/$container/ns/user)");
        }
        let bind = if reach == MountReach::Recursive { "--rbind" } else { "--bind" };
        self.line(&format!("mount {bind} {} {target}", quote(&path.to_string_lossy())));
        if mount.attributes != Attributes::NONE {
            self.line(&format!("mount -o remount,bind,{} {target}", mount.attributes.options()));
        }
    }

    fn exec(&mut self, command: &ExecCommand, plan: &Plan) {
        let mut line = String::from("exec setpriv");
        let persona = plan.steps.iter().find_map(|step| match step {
            Step::Personality(persona) => Some(persona.word()),
            _ => None,
        });
        for step in &plan.steps {
            match step {
                Step::Credentials(who) => line.push_str(&credentials::setpriv(who)),
                Step::NoNewPrivileges => line.push_str(" --no-new-privs"),
                _ => {}
            }
        }
        line.push_str(" --");
        if let Some(persona) = persona {
            let _ = write!(line, " setarch {persona}");
        }
        for text in &command.arguments {
            let _ = write!(line, " {}", quote(&text.to_string_lossy()));
        }
        if plan.options.stdin == Stdin::Null && !command.terminal {
            line.push_str(" < /dev/null");
        }
        if command.reaper == Reaper::Usnea {
            self.line(&format!("# ({RUN_INIT}: usnea's reaper is process 1 and this its child)"));
        }
        self.line("unset root PWD OLDPWD");
        for text in &command.environment {
            let text = text.to_string_lossy();
            let (name, value) = text.split_once('=').unwrap_or((&text, ""));
            self.line(&format!("export {name}={}", quote(value)));
        }
        self.line(&line);
    }
}

/// Word of mount(8) for a propagation.
fn propagation_word(propagation: Propagation, reach: MountReach) -> String {
    let name = match propagation {
        Propagation::Private => "private",
        Propagation::Slave => "slave",
        Propagation::Shared => "shared",
        Propagation::Unbindable => "unbindable",
    };
    let prefix = if reach == MountReach::Recursive { "r" } else { "" };
    format!("{prefix}{name}")
}

/// Returns the new namespaces that the engine makes in base. The script makes them with the others.
fn made_in_base(plan: &Plan) -> Namespaces {
    let mut made = plan.steps.iter().filter_map(|step| match step {
        Step::JoinNamespaces(join) => Some(join.made_in_base),
        _ => None,
    });
    made.next().unwrap_or_default()
}

/// Options of nsenter(1) for the namespaces that the plan joins.
fn joined_options(plan: &Plan) -> String {
    let join = plan.steps.iter().find_map(|step| match step {
        Step::JoinNamespaces(join) => Some(join),
        _ => None,
    });
    let option = |joined: &JoinedNamespace| {
        let name = Namespaces::ALL.iter().find(|(kind, ..)| *kind == joined.kind);
        let name = name.map_or("", |(.., option)| option);
        format!(" {name}={}", quote(&joined.path.to_string_lossy()))
    };
    join.into_iter().flat_map(|join| &join.namespaces).map(option).collect()
}

fn numbers(map: &[IdMap], between: &str, lines: &str) -> String {
    let line = |line: &IdMap| {
        [line.inside, line.outside, line.count].map(|number| number.to_string()).join(between)
    };
    map.iter().map(line).collect::<Vec<_>>().join(lines)
}

fn options_text(attributes: &str, options: &[(String, Option<String>)]) -> String {
    let option = |(name, value): &(String, Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    let mut all: Vec<String> = options.iter().map(option).collect();
    if !attributes.is_empty() {
        all.insert(0, attributes.to_owned());
    }
    all.join(",")
}

fn dash_o(options: &str) -> String {
    if options.is_empty() { String::new() } else { format!(" -o {}", quote(options)) }
}

fn below(path: &Path) -> String {
    format!("\"$root\"{}", quote(&path.to_string_lossy()))
}
