//! Services that make a volume, network or image once, before containers need it: `*.volume`, `*.network`, `*.image`.

use super::keys::{FlagKey, FlagRule};
use super::message::FileProblem;
use super::service::{QuadletContext, ServiceUnit};
use super::source::QuadletFile;
use super::unit_file::{Toggle, UnitFile, UnitSetting};

/// Keys of `[Volume]`.
pub const VOLUME_KEYS: &[FlagKey] = &[
    ("VolumeName", FlagRule::Special),
    ("Driver", FlagRule::Last("--driver")),
    ("Image", FlagRule::Special),
    ("Copy", FlagRule::Special),
    ("Device", FlagRule::Special),
    ("Type", FlagRule::Special),
    ("Options", FlagRule::Special),
    ("User", FlagRule::Special),
    ("Group", FlagRule::Special),
    ("Label", FlagRule::Pairs("--label")),
];

/// Keys of `[Network]`.
pub const NETWORK_KEYS: &[FlagKey] = &[
    ("NetworkName", FlagRule::Special),
    ("Driver", FlagRule::Last("--driver")),
    ("DisableDNS", FlagRule::Switch("--disable-dns")),
    ("DNS", FlagRule::Each("--dns")),
    ("Internal", FlagRule::Switch("--internal")),
    ("IPv6", FlagRule::Switch("--ipv6")),
    ("IPAMDriver", FlagRule::Special),
    ("InterfaceName", FlagRule::Last("--interface-name")),
    ("Subnet", FlagRule::Special),
    ("Gateway", FlagRule::Special),
    ("IPRange", FlagRule::Special),
    ("Options", FlagRule::Pairs("--opt")),
    ("Label", FlagRule::Pairs("--label")),
    ("NetworkDeleteOnStop", FlagRule::Special),
];

/// Keys of `[Image]`.
pub const IMAGE_KEYS: &[FlagKey] = &[
    ("Image", FlagRule::Special),
    ("ImageTag", FlagRule::Special),
    ("AllTags", FlagRule::Switch("--all-tags")),
    ("Arch", FlagRule::Last("--arch")),
    ("AuthFile", FlagRule::Last("--authfile")),
    ("CertDir", FlagRule::Last("--cert-dir")),
    ("Creds", FlagRule::Last("--creds")),
    ("DecryptionKey", FlagRule::Refused("usnea does not decrypt images")),
    ("OS", FlagRule::Last("--os")),
    ("Policy", FlagRule::Last("--policy")),
    ("Retry", FlagRule::Last("--retry")),
    ("RetryDelay", FlagRule::Last("--retry-delay")),
    ("TLSVerify", FlagRule::Switch("--tls-verify")),
    ("Variant", FlagRule::Last("--variant")),
];

/// Makes the service of a volume. Errors: a setting that usnea cannot apply.
pub fn volume(source: &QuadletFile, around: &QuadletContext<'_>) -> Result<UnitFile, FileProblem> {
    const GROUP: &str = "Volume";
    let mut service = ServiceUnit::begin(source, around)?;
    let mut command = service.command(&["volume", "create", "--ignore"])?;
    command.keys(source, VOLUME_KEYS)?;
    let is_image = source.unit.last(GROUP, "Driver").is_some_and(|driver| driver.value == "image");
    match (is_image, source.unit.last(GROUP, "Image")) {
        (true, Some(image)) => {
            command.flag("--opt", format!("image={}", service.image(image, &image.value)?));
        }
        (true, None) => return Err(FileProblem::of(&source.path, "Driver=image without Image=")),
        (false, _) => mount_options(source, around, &mut command)?,
    }
    service.further_arguments(&mut command)?;
    command.word(source.resource()?);
    service.run_once(&command);
    Ok(service.unit)
}

fn mount_options(
    source: &QuadletFile,
    around: &QuadletContext<'_>,
    command: &mut super::keys::UnitCommand,
) -> Result<(), FileProblem> {
    let last = |key| source.unit.last("Volume", key);
    match last("Copy").map(UnitSetting::boolean).transpose()? {
        Some(Toggle::On) => command.flag("--opt", "copy"),
        Some(Toggle::Off) => command.flag("--opt", "nocopy"),
        None => {}
    }
    match last("Device") {
        Some(device) => command.flag("--opt", format!("device={}", device.value)),
        None => {
            if let Some(setting) = last("Type").or(last("Options")) {
                return Err(setting.problem("without Device="));
            }
        }
    }
    if let Some(kind) = last("Type") {
        command.flag("--opt", format!("type={}", kind.value));
    }
    let mut options = Vec::new();
    for (key, name, lookup) in
        [("User", "uid", around.accounts.user), ("Group", "gid", around.accounts.group)]
    {
        let Some(setting) = last(key) else { continue };
        let number = setting.value.parse().ok().or_else(|| lookup(&setting.value));
        let number =
            number.ok_or_else(|| setting.problem("there is no user or group of this name"))?;
        options.push(format!("{name}={number}"));
    }
    options.extend(last("Options").map(|setting| setting.value.clone()));
    if !options.is_empty() {
        command.flag("--opt", format!("o={}", options.join(",")));
    }
    Ok(())
}

/// Makes the service of a network. Errors: a setting that usnea cannot apply.
pub fn network(source: &QuadletFile, around: &QuadletContext<'_>) -> Result<UnitFile, FileProblem> {
    const GROUP: &str = "Network";
    let mut service = ServiceUnit::begin(source, around)?;
    let mut command = service.command(&["network", "create", "--ignore"])?;
    if let Some(driver) = source.unit.last(GROUP, "IPAMDriver")
        && driver.value != "host-local"
    {
        return Err(driver.problem("usnea gives addresses by host-local alone"));
    }
    command.keys(source, NETWORK_KEYS)?;
    let list = |key| source.unit.list(GROUP, key);
    let (subnets, gateways, ranges) = (list("Subnet"), list("Gateway"), list("IPRange"));
    if let Some(extra) = gateways.get(subnets.len()).or(ranges.get(subnets.len())) {
        return Err(extra.problem("has no Subnet="));
    }
    for (index, subnet) in subnets.iter().enumerate() {
        command.flag("--subnet", &subnet.value);
        for (flag, list) in [("--gateway", &gateways), ("--ip-range", &ranges)] {
            list.get(index).into_iter().for_each(|setting| command.flag(flag, &setting.value));
        }
    }
    service.further_arguments(&mut command)?;
    let name = source.resource()?;
    command.word(&name);
    let delete = source.unit.last(GROUP, "NetworkDeleteOnStop");
    if delete.map(UnitSetting::boolean).transpose()? == Some(Toggle::On) {
        let remove = service.command(&["network", "rm", &name])?;
        service.set("ExecStopPost", remove.text());
    }
    service.run_once(&command);
    Ok(service.unit)
}

/// Makes the service that pulls an image. Errors: a setting that usnea cannot apply.
pub fn image(source: &QuadletFile, around: &QuadletContext<'_>) -> Result<UnitFile, FileProblem> {
    let mut service = ServiceUnit::begin(source, around)?;
    let Some(name) = source.unit.last("Image", "Image") else {
        return Err(FileProblem::of(&source.path, "no Image= in [Image]"));
    };
    let mut command = service.command(&["image", "pull"])?;
    command.keys(source, IMAGE_KEYS)?;
    service.further_arguments(&mut command)?;
    command.word(&name.value);
    service.run_once(&command);
    Ok(service.unit)
}
