//! Document of `usnea version`.

use serde::Serialize;

/// Version of this program, under docker's and podman's names for it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProgramVersion {
    /// Name of this program, as docker's platform.
    pub platform: PlatformName,
    /// Version of this program.
    pub version: String,
    /// API version: by podman's rule, the program's own version.
    #[serde(rename = "APIVersion")]
    pub api_version: String,
    /// API version in docker's spelling.
    #[serde(rename = "ApiVersion")]
    pub api_version_of_docker: String,
    /// Oldest API version that is understood.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// Always empty: a release is known by its version.
    pub git_commit: String,
    /// Always empty: usnea is not written in Go.
    pub go_version: String,
    /// Always empty: two builds of one source are alike.
    pub build_time: String,
    /// Time of the build in podman's spelling; always empty.
    pub built_time: String,
    /// Time of the build in seconds since 1970; always 0, because two builds of one source are alike.
    pub built: i64,
    /// Operating system: `linux`.
    pub os: String,
    /// Processor architecture, in Go's words.
    pub arch: String,
    /// Operating system and architecture: `linux/amd64`.
    pub os_arch: String,
    /// Release of the kernel.
    pub kernel_version: String,
    /// True if this version is a preview; always false.
    pub experimental: bool,
}

/// docker's `Platform` of a program.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PlatformName {
    pub name: &'static str,
}

/// Document of `usnea version`: docker's, of which podman's is the first half.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VersionDocument {
    pub client: ClientVersion,
    pub server: ServerVersion,
}

/// Version of the program that a user calls.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClientVersion {
    #[serde(flatten)]
    pub version: ProgramVersion,
    #[serde(rename = "DefaultAPIVersion")]
    pub default_api_version: String,
    /// docker's context without settings, which never changes here.
    pub context: &'static str,
}

/// Version of the server: there is none, this program does it all.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServerVersion {
    #[serde(flatten)]
    pub version: ProgramVersion,
    /// Programs of the server.
    pub components: [ServerComponent; 1],
}

/// Program of the server.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServerComponent {
    pub name: &'static str,
    pub version: String,
    pub details: ProgramVersion,
}

impl From<ProgramVersion> for VersionDocument {
    fn from(version: ProgramVersion) -> Self {
        let component = ServerComponent {
            name: version.platform.name,
            version: version.version.clone(),
            details: version.clone(),
        };
        let client = ClientVersion {
            default_api_version: version.api_version.clone(),
            version: version.clone(),
            context: "default",
        };
        Self { client, server: ServerVersion { version, components: [component] } }
    }
}
