//! Commands at the top level: a file for each, or a folder for those with subcommands.

mod auto_update;
mod cdi;
mod check;
pub mod completion;
pub mod container;
mod doctor;
pub mod events;
mod generate;
pub mod image;
mod login;
mod logout;
mod manifest;
mod mount;
pub mod network;
pub mod oci;
mod pod;
pub mod quadlet;
pub mod run;
mod secret;
mod slurm;
mod spec;
pub mod system;
mod unshare;
mod version;
mod volume;

use clap::Subcommand;

use super::late::Late;
use crate::container::Usnea;
use crate::error::Result;
use crate::sys::signal;
use container::{ContainerVerb, NameScope};
use image::ImageVerb;

#[derive(Subcommand)]
#[command(
    mut_subcommand("inspect", |inspect: clap::Command| {
        inspect.about("Show detailed information on containers, images, networks and volumes")
    }),
    mut_subcommand("export", |export: clap::Command| {
        export.about("Export the file system of a container, or of an image, as a tar archive")
    })
)]
pub enum TopLevelCommand {
    #[command(flatten)]
    ContainerVerb(ContainerVerb),
    #[command(flatten)]
    ImageVerb(ImageVerb),
    /// Manage containers.
    Container(Late<container::Arguments>),
    /// Manage health checks of containers.
    Healthcheck(Late<container::healthcheck::Arguments>),
    /// Show events of containers, images, networks, pods, secrets and volumes.
    Events(Late<events::Arguments>),
    /// Print the OCI runtime config.json that run would use.
    Spec(Late<Box<spec::Arguments>>),
    /// Manage images.
    Image(Late<image::Arguments>),
    /// List images.
    Images(Late<image::list::Arguments>),
    /// Manage manifest lists: a name for images of several platforms.
    Manifest(Late<manifest::Arguments>),
    /// Manage networks.
    Network(Late<network::Arguments>),
    /// Manage pods: containers that share namespaces.
    Pod(Late<pod::Arguments>),
    /// Manage Quadlet files: systemd units for containers.
    Quadlet(Late<quadlet::Arguments>),
    /// Generate units of systemd for containers and pods.
    Generate(Late<generate::Arguments>),
    /// Update containers of services of systemd.
    AutoUpdate(Late<auto_update::Arguments>),
    /// Run containers as an OCI runtime, with the command line of runc and crun.
    Oci(Late<Box<oci::Arguments>>),
    /// Prepare containers for the workload manager Slurm.
    Slurm(Late<slurm::Arguments>),
    /// Remove images.
    Rmi(Late<image::remove::Arguments>),
    /// Show devices of the Container Device Interface (CDI).
    Cdi(Late<cdi::Arguments>),
    /// Manage secrets: files and variables that only containers see.
    Secret(Late<secret::Arguments>),
    /// Run a command in the user namespace that containers are made in.
    Unshare(Late<unshare::Arguments>),
    /// Manage volumes.
    Volume(Late<volume::Arguments>),
    /// Show information about this machine and the store.
    Info(Late<system::info::Arguments>),
    /// Show the version.
    Version(Late<version::Arguments>),
    /// Manage the store.
    System(Late<system::Arguments>),
    /// Verify the store and repair it.
    Check(Late<check::Arguments>),
    /// Log in to a registry.
    Login(Late<login::Arguments>),
    /// Log out of a registry.
    Logout(Late<logout::Arguments>),
    /// Mount a file system that usnea provides.
    Mount(Late<mount::Arguments>),
    /// Print a completion script for a shell.
    Completion(Late<completion::Arguments>),
    /// Check the requirements of containers on this machine, and show how to meet missing ones.
    Doctor(Late<doctor::Arguments>),
}

impl TopLevelCommand {
    /// Runs the command; returns its exit status.
    pub fn run(self, usnea: &Usnea) -> Result<u8> {
        match self {
            Self::ContainerVerb(verb) => verb.run(usnea, NameScope::All),
            Self::ImageVerb(verb) => verb.run(usnea),
            Self::Container(Late(container)) => container::run(container, usnea),
            Self::Healthcheck(Late(check)) => container::healthcheck::run(&check, usnea),
            Self::Events(Late(events)) => events::run(&events, usnea),
            Self::Spec(Late(spec)) => spec::run(*spec, usnea),
            Self::Image(Late(image)) => image::run(image, usnea),
            Self::Images(Late(list)) => image::list::run(list, usnea),
            Self::Manifest(Late(manifest)) => manifest::run(manifest, usnea),
            Self::Network(Late(network)) => network::run(network, usnea),
            Self::Pod(Late(pod)) => pod::run(pod, usnea),
            Self::Quadlet(Late(quadlet)) => quadlet::run(quadlet),
            Self::Generate(Late(generate)) => generate::run(generate, usnea),
            Self::AutoUpdate(Late(update)) => auto_update::run(update, usnea),
            Self::Oci(Late(oci)) => oci::run(*oci, usnea),
            Self::Slurm(Late(slurm)) => slurm::run(slurm),
            Self::Rmi(Late(remove)) => image::remove::run(&remove, usnea),
            Self::Cdi(Late(cdi)) => cdi::run(cdi),
            Self::Secret(Late(secret)) => secret::run(secret, usnea),
            Self::Unshare(Late(unshare)) => unshare::run(&unshare, usnea),
            Self::Volume(Late(volume)) => volume::run(volume, usnea),
            Self::Info(Late(info)) => system::info::run(&info, usnea),
            Self::Version(Late(version)) => version::run(&version),
            Self::System(Late(system)) => system::run(system, usnea),
            Self::Check(Late(check)) => check::run(&check, usnea),
            Self::Login(Late(login)) => login::run(login),
            Self::Logout(Late(logout)) => logout::run(logout),
            Self::Mount(Late(mount)) => mount::run(mount),
            Self::Completion(Late(completion)) => completion::run(&completion),
            Self::Doctor(Late(doctor)) => {
                signal::set_default(&[libc::SIGPIPE]);
                doctor::run(&doctor, usnea)
            }
        }
    }
}
