//! `usnea image spread`: one rank of a job pulls, all others fetch from ranks. All settings and policies are read before
//! the work in the base user namespace.

use std::net::IpAddr;
use std::time::Duration;

use super::pull::{
    Candidate, PARALLEL, Pull, cache_for, candidates, first_of, log_evictions, pull,
    warn_of_platform,
};
use super::spread_job::SpreadJob;
use crate::config::Settings;
use crate::container::Usnea;
use crate::container::node_cache::NodeCache;
use crate::container::stores;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::Reference;
use crate::image::manifest::Platform;
use crate::image::owners::Owners;
use crate::image::policy::{ImageOrigin, SignaturePolicy};
use crate::image::pull::{ImagePull, TransferProgress};
use crate::image::source::ImageSource;
use crate::image::spread::{
    PeerSource, SpreadRoot, SpreadSettings, SpreadTempo, SpreadToken, run_member, run_root,
};
use crate::image::store::{ImageRecord, ImageRemoval, Store};
use crate::image::transport::ImageLocation;
use crate::userns;

/// Image to spread, and the rank of this process.
#[derive(Clone, Debug)]
pub struct Spread {
    /// Image of a registry.
    pub pull: Pull,
    /// Rank of this process.
    pub rank: SpreadRank,
}

/// Rank of this process, and its settings.
#[derive(Clone, Debug)]
pub struct SpreadRank {
    /// Position in the job.
    pub job: SpreadJob,
    /// Secret of the job.
    pub token: SpreadToken,
    /// Address to listen at; `None`: for rank 0 all, for others the one that leads to rank 0.
    pub listen: Option<IpAddr>,
    /// Number of ranks that fetch from one rank.
    pub fanout: u32,
    /// Wait for ranks that have not come.
    pub timeout: Duration,
}

/// Inputs of the work in the base namespace.
struct SpreadWork<'a> {
    /// Store that receives the image.
    store: &'a Store,
    /// The node cache, if the image is pulled into it.
    cache: Option<&'a NodeCache>,
    platform: Platform,
    owners: Owners,
    settings: Settings,
    policy: SignaturePolicy,
    progress: &'a dyn TransferProgress,
}

/// Pulls the image into the store of a pull, as this rank of the job. Returns when the image is here and no other rank
/// needs this one. Errors: as of a pull; at rank 0 also ranks that never came.
pub fn spread(
    usnea: &Usnea,
    request: &Spread,
    progress: &dyn TransferProgress,
) -> Result<ImageRecord> {
    let asked = &request.pull;
    if !matches!(asked.place, ImageLocation::Registry(_)) {
        let error = format!("{}: only images of registries are spread", asked.place);
        return Err(Error::invalid(error).hint("all ranks can pull from a shared folder"));
    }
    if request.rank.job.ranks == 1 {
        return pull(usnea, asked, progress);
    }
    let (stores, base) = (usnea.images()?, usnea.base()?);
    let policy = asked
        .signature_policy
        .as_deref()
        .map_or_else(SignaturePolicy::load, SignaturePolicy::load_from)?;
    let cache = cache_for(stores, &asked.place)?;
    let store = cache.map_or(stores.own(), |cache| &cache.store);
    let work = SpreadWork {
        store,
        cache,
        platform: asked.platform.clone().unwrap_or_else(Platform::host),
        owners: stores::owners(base, store),
        settings: Settings::load()?,
        policy,
        progress,
    };
    let settings = request.rank.settings(asked.place.to_string());
    let (pulled, evicted) = match request.rank.job.rank {
        0 => {
            let candidates = candidates(Some(stores), asked, &work.policy)?;
            userns::in_base(base, || {
                store.sweep();
                let pulled =
                    run_root(&settings, store, |root| work.pull_as_root(root, &candidates))?;
                Ok(work.trimmed(pulled))
            })?
        }
        _ => userns::in_base(base, || {
            store.sweep();
            let pulled = run_member(&settings, store, |source, image| {
                work.fetch(source, &image.reference.parse::<Reference>()?)
            })?;
            Ok(work.trimmed(pulled))
        })?,
    };
    log_evictions(stores, &evicted);
    stores.take_names(store, &pulled.names);
    warn_of_platform(&pulled, asked.platform.as_ref());
    super::log_image_event(stores, &pulled.config, "pull", Some(asked.place.to_string()));
    Ok(pulled)
}

impl SpreadRank {
    /// Settings for the spread of this image, as the command names it.
    pub(super) fn settings(&self, image: String) -> SpreadSettings {
        SpreadSettings {
            shape: self.job.shape(self.fanout),
            token: self.token.clone(),
            image,
            host: self.job.host.clone(),
            port: self.job.port,
            listen: self.listen,
            tempo: SpreadTempo::new(self.timeout),
        }
    }
}

impl SpreadWork<'_> {
    /// Makes room in the node cache after the pull.
    fn trimmed(&self, pulled: ImageRecord) -> (ImageRecord, Vec<ImageRemoval>) {
        let evicted = self.cache.map(|cache| cache.trim(&pulled.manifest)).unwrap_or_default();
        (pulled, evicted)
    }

    /// Pulls from the first registry that has the image, as rank 0.
    fn pull_as_root(&self, root: &SpreadRoot, candidates: &[Candidate]) -> Result<ImageRecord> {
        let pulled = first_of(candidates, |registry, reference| {
            let origin = ImageOrigin::registry(reference);
            let verify =
                |digest: &Digest| self.policy.verify(&origin, digest, &|tag| registry.sibling(tag));
            self.pull_and_share(root, registry, reference, &verify)
        })?;
        root.add_stored(&pulled)?;
        Ok(pulled)
    }

    /// Pulls from a registry as rank 0; the others hear of the image once the policy has accepted it.
    fn pull_and_share(
        &self,
        root: &SpreadRoot,
        registry: &dyn ImageSource,
        reference: &Reference,
        verify: &(dyn Fn(&Digest) -> Result<()> + Sync),
    ) -> Result<ImageRecord> {
        let source = root.share(registry);
        let approve = |digest: &Digest| {
            verify(digest)?;
            source.announce(&reference.to_string(), digest)
        };
        self.run(&source, reference, &approve)
    }

    /// Fetches from other ranks. Rank 0 has verified signatures; the rule for the image is this rank's too.
    fn fetch(&self, source: &PeerSource, reference: &Reference) -> Result<ImageRecord> {
        let origin = ImageOrigin::registry(reference);
        self.policy.check_before(&origin).context(|| source.describe())?;
        self.run(source, reference, &|_| Ok(()))
    }

    fn run(
        &self,
        source: &dyn ImageSource,
        reference: &Reference,
        approve: &(dyn Fn(&Digest) -> Result<()> + Sync),
    ) -> Result<ImageRecord> {
        let pull = ImagePull {
            action: "pull",
            store: self.store,
            platform: &self.platform,
            names: std::slice::from_ref(reference),
            owners: &self.owners,
            limits: &self.settings.limits,
            parallel: self.settings.parallel_downloads.unwrap_or(PARALLEL),
            progress: self.progress,
            approve,
        };
        pull.run(source)
    }
}
