//! Network of a container: turns the flags into the settings of its record, and those into the actions of a launch.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::usnea::Usnea;
use super::{folder, ports, shared_namespaces};
use crate::config::{self, DefaultNetwork};
use crate::error::{Context, Error, Result, Setting};
use crate::hint;
use crate::host::network_helper::NetworkHelper;
use crate::host::process_id;
use crate::layer::whiteout::Whiteouts;
use crate::layer::{LowerLayer, Merged};
use crate::monitor::protocol;
use crate::net::host_ports::HostPorts;
use crate::net::{
    ConnectionRequest, MemberIdentity, Mode, Network, NetworkDefinition, NetworkOrigin,
    NetworkRequest, Resolver, UPLINK_INTERFACE, definition,
};
use crate::network_attachment::NetworkAttachment;
use crate::phrase;
use crate::spec::{self, ContainerOptions, HelperFlag, HostsBase, ImageDefaults};

/// Sets the default network of the settings, for options without one. Errors: unreadable settings.
pub fn set_default(options: &mut ContainerOptions, usnea: &Usnea) -> Result<()> {
    if !options.network.is_empty() {
        return Ok(());
    }
    let helper = |program| spec::NetworkMode::Helper(HelperFlag { program, options: Vec::new() });
    options.default_network = match usnea.settings()?.default_network {
        DefaultNetwork::None => spec::NetworkMode::None,
        DefaultNetwork::Host => spec::NetworkMode::Host,
        DefaultNetwork::Private => helper(None),
        DefaultNetwork::Pasta => helper(Some(NetworkHelper::Pasta)),
        DefaultNetwork::Slirp4netns => helper(Some(NetworkHelper::Slirp4netns)),
    };
    Ok(())
}

/// Returns the network request of the flags; chooses free host ports where the flags name none. Errors: published ports
/// without a network; no free port.
pub fn wanted(options: &ContainerOptions, image: &ImageDefaults) -> Result<NetworkRequest> {
    let network = options.network();
    options.joined_network().map_err(Error::invalid).context(|| Setting::Network)?;
    let publishes = options.publishes();
    let (mut attachments, mut has_own_uplink) = (Vec::new(), false);
    let (mode, flag) = match network {
        spec::NetworkMode::None if publishes => {
            return Err(Error::invalid("a container without a network has no ports")
                .within(Setting::Publish)
                .hint(hint::NOT_NETWORK_NONE));
        }
        spec::NetworkMode::None => (Mode::None, Default::default()),
        spec::NetworkMode::Host => (Mode::Host, Default::default()),
        spec::NetworkMode::Helper(flag) => (Mode::Helper, flag),
        spec::NetworkMode::Joined(_) => (Mode::Joined, Default::default()),
        spec::NetworkMode::Named(named, flag) => {
            attachments = named;
            has_own_uplink = flag.is_some();
            (Mode::Named, flag.unwrap_or_default())
        }
    };
    let exposed = ports::exposed(options, image);
    if mode == Mode::Host && publishes {
        log::warn!(
            "{}: on the host's network the container's ports are the host's already",
            Setting::Publish
        );
    }
    let forwards = match mode {
        Mode::Helper | Mode::Named => ports::forwards(options, &exposed)?,
        Mode::None | Mode::Host | Mode::Joined => Vec::new(),
    };
    let resolver = resolver(options)?;
    let is_default = options.has_default_network();
    Ok(NetworkRequest {
        mode,
        origin: if is_default { NetworkOrigin::Assumed } else { NetworkOrigin::Requested },
        program: flag.program,
        options: flag.options,
        has_own_uplink,
        attachments,
        joined: joined_owner(options),
        forwards,
        exposed: exposed
            .iter()
            .flat_map(ports::ends)
            .map(|(port, protocol)| format!("{port}/{protocol}"))
            .collect(),
        resolver,
        hosts_base: None,
        hosts: options.has_own_hosts().then(|| options.add_host.clone()),
        names_host: options.has_own_hostname(),
        spares_root: is_default && options.rw_root,
    })
}

/// Returns the content of /etc/resolv.conf, as far as the options set it. `None`: the container has no file of its own.
fn resolver(options: &ContainerOptions) -> Result<Option<Resolver>> {
    let servers = options.dns_addresses().map_err(|reason| {
        Error::invalid(phrase!("cannot use ", Setting::Dns, format!(": {reason}")))
    })?;
    Ok(options.has_own_resolver().then(|| Resolver {
        servers,
        search: options.dns_search.clone(),
        options: options.dns_option.clone(),
    }))
}

/// Returns the lines that /etc/hosts begins with. `None`: the default ones. Errors: a file that cannot be read.
pub(super) fn hosts_base(
    options: &ContainerOptions,
    root: &[LowerLayer],
    whiteouts: Whiteouts,
) -> Result<Option<String>> {
    const LARGEST: u64 = 1 << 20;
    let read = || match &options.hosts_file {
        None => Ok(None),
        Some(HostsBase::Empty) => Ok(Some(Vec::new())),
        Some(HostsBase::File(path)) => {
            let mut content = Vec::new();
            File::open(path)?.take(LARGEST + 1).read_to_end(&mut content)?;
            match content.len() as u64 > LARGEST {
                true => Err(io::Error::from(io::ErrorKind::FileTooLarge).into()),
                false => Ok(Some(content)),
            }
        }
        Some(HostsBase::Image) => {
            // A root that is yet to be assembled (`--explain`) has no files.
            let there = root.iter().filter(|layer| layer.path().exists());
            let merged = there.map(LowerLayer::open).collect::<Result<Vec<_>>>()?;
            let merged = Merged::of(merged, whiteouts);
            Ok(Some(merged.read(Path::new("etc/hosts"), LARGEST)?.unwrap_or_default()))
        }
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let read: Result<Option<Vec<u8>>> = read();
    Ok(read.context(|| Setting::HostsFile)?.map(text))
}

/// Returns the target of a joined network, as on the command line. `None`: no network is joined.
fn joined_owner(options: &ContainerOptions) -> Option<String> {
    match options.network() {
        spec::NetworkMode::Joined(target) => Some(target.to_string()),
        _ => None,
    }
}

/// Networks of a container, which are protected against removal as long as this value lives.
#[derive(Debug, Default)]
pub struct HeldNetworks {
    /// Definitions, in the order of the container's interfaces.
    pub definitions: Vec<NetworkDefinition>,
    /// Locks on the definitions.
    locks: Vec<File>,
}

/// Finds and locks the networks of a request, and replaces what the user typed by their names. Ports without an address
/// get the default address of a network (docker's `host_binding_ipv4`). Errors: no such network; a network named twice;
/// published ports on internal networks only.
pub fn hold_networks(store: &Path, request: &mut NetworkRequest) -> Result<HeldNetworks> {
    let mut held = HeldNetworks::default();
    let mut names: Vec<String> = Vec::new();
    let mut has_uplink = request.has_own_uplink;
    let mut binding = None;
    for attachment in &mut request.attachments {
        let (definition, lock) =
            definition::hold(store, &attachment.network).context(|| Setting::Network)?;
        let name = definition.name.to_string();
        if names.contains(&name) {
            return Err(Error::invalid(format!("network {name} is named twice")))
                .context(|| Setting::Network);
        }
        has_uplink |= !definition.is_internal();
        binding = binding.or(definition.options.host_binding);
        attachment.network.clone_from(&name);
        names.push(name);
        held.definitions.push(definition);
        held.locks.push(lock);
    }
    check_interfaces(&request.attachments, has_uplink.then_some(UPLINK_INTERFACE))?;
    if request.mode == Mode::Named && !has_uplink && !request.forwards.is_empty() {
        return Err(Error::invalid(
            "all networks of the container are internal, and have no ports",
        )
        .within(Setting::Publish)
        .hint(hint::NETWORK_WITH_UPLINK));
    }
    for forward in &mut request.forwards {
        forward.host = forward.host.or(binding);
    }
    Ok(held)
}

/// Checks that the requested interface names are unique, and differ from `helper`, the interface of the network helper.
fn check_interfaces(attachments: &[NetworkAttachment], helper: Option<&str>) -> Result<()> {
    let mut taken: Vec<&str> = helper.into_iter().collect();
    for attachment in attachments {
        let Some(name) = attachment.interface.as_deref() else { continue };
        if taken.contains(&name) {
            let other = if helper == Some(name) { "the network helper" } else { "another network" };
            let network = &attachment.network;
            return Err(Error::invalid(format!(
                "network {network}: {name} is the interface of {other}"
            )))
            .context(|| Setting::Network);
        }
        taken.push(name);
    }
    Ok(())
}

/// Returns the folder with the live files of a store's networks: their current members and addresses.
pub fn live_folder(store: &Path) -> Result<PathBuf> {
    let metadata = store.metadata().context(|| store.display().to_string())?;
    let name = format!("networks-{:x}-{:x}", metadata.dev(), metadata.ino());
    Ok(protocol::folder(store)?.join(name))
}

/// Reads the definitions of a container's networks. Errors: a network that was removed.
pub fn definitions(store: &Path, wanted: &NetworkRequest) -> Result<Vec<NetworkDefinition>> {
    let all = wanted.attachments.iter().map(|one| definition::named(store, &one.network));
    all.collect::<Result<_>>().context(|| Setting::Network)
}

/// Returns the network actions for a launch of `spec` as `container`. Errors: no helper; invalid options.
pub fn connected(
    wanted: &NetworkRequest,
    definitions: Vec<NetworkDefinition>,
    spec: &Spec,
    store: &Path,
    container: ContainerIdentity<'_>,
) -> Result<Network> {
    let hostname = shared_namespaces::hostname(store, spec)?;
    let mut identity = identity(container.id, container.name, spec);
    if spec.hostname().is_none() {
        // Host name of the host, or of the container whose UTS namespace is joined.
        identity.hostname.clone_from(&hostname);
    }
    let lock = match wanted.forwards.is_empty() {
        true => PathBuf::new(),
        false => protocol::folder(store)?.join("ports"),
    };
    let live = if definitions.is_empty() { PathBuf::new() } else { live_folder(store)? };
    // A choice between helpers depends on the version of pasta.
    let chooses = matches!(wanted.mode, Mode::Helper | Mode::Named) && wanted.program.is_none();
    // `--explain` calls this function too: neither a folder nor a file of the store may be made.
    let runtime = chooses.then(config::runtime_folder).flatten();
    let folder = runtime.map(|(path, _)| protocol::in_session(&path));
    let note = folder.filter(|folder| folder.is_dir()).map(|folder| folder.join("pasta-version"));
    wanted.decide(ConnectionRequest {
        identity,
        hostname: &hostname,
        definitions,
        live: &live,
        ports: HostPorts { forwards: wanted.forwards.clone(), lock },
        tmp: &store.join("tmp"),
        prefix: folder::PREFIX,
        note: note.as_deref(),
    })
}

/// Returns the identity of a container on its networks. `name`: `None` for a disposable container without a name.
pub(super) fn identity(id: &str, name: Option<&str>, spec: &Spec) -> MemberIdentity {
    let hostname = spec.hostname().clone().unwrap_or_else(process_id::host_name);
    let full_name = match spec.domainname() {
        Some(domain) if !hostname.contains('.') => format!("{hostname}.{domain}"),
        _ => hostname,
    };
    MemberIdentity {
        id: id.to_owned(),
        name: name.map(str::to_owned),
        hostname: full_name,
        ..MemberIdentity::default()
    }
}

/// ID and name of a container to connect.
#[derive(Clone, Copy, Debug)]
pub struct ContainerIdentity<'a> {
    /// ID: 64 hexadecimal digits.
    pub id: &'a str,
    /// Name; `None`: a disposable container without a name.
    pub name: Option<&'a str>,
}

/// Name of the file in the runtime folder that holds the boot ID and the cause of the last warning.
const WARNED: &str = "no-network-helper";

/// Warns, once per boot, that containers have no external connectivity. Two concurrent commands may both warn.
pub fn warn_if_offline(network: &Network, store: &Path) {
    let Some(error) = &network.offline else { return };
    let place = protocol::folder(store).map(|folder| folder.join(WARNED)).ok();
    let warning = format!("{} {error}", process_id::boot_id().unwrap_or_default());
    let warned = place.as_ref().and_then(|place| std::fs::read_to_string(place).ok());
    if warned.as_deref() == Some(&warning) {
        return log::debug!("no external connectivity: {error}");
    }
    let hint = error.hint_text().map(|hint| format!(" ({hint})")).unwrap_or_default();
    log::warn!(
        "containers have a loopback interface alone: {error}{hint}; {}",
        hint::NO_WARNING_OF_NETWORK
    );
    if let Some(place) = place
        && let Err(error) = std::fs::write(&place, warning)
    {
        log::debug!("{}: {error}", place.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Forward;

    fn options(publish: &[&str]) -> ContainerOptions {
        let publish = publish.iter().map(|text| text.parse().unwrap()).collect();
        ContainerOptions { publish, ..ContainerOptions::default() }
    }

    #[test]
    fn all_that_is_exposed_is_published_once() {
        let image = ImageDefaults {
            exposed_ports: vec!["80/tcp".into(), "odd".into(), "53/udp".into()],
            ..ImageDefaults::default()
        };
        let options = ContainerOptions { publish_all: true, ..options(&["127.0.0.1:40002:80"]) };
        let wanted = wanted(&options, &image).unwrap();
        let ends: Vec<_> = wanted.forwards.iter().map(Forward::container_end).collect();
        assert_eq!(ends, ["80/tcp", "53/udp"]);
        assert_eq!(wanted.exposed, ["80/tcp", "53/udp"]);
    }
}
