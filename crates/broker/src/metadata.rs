//! The metadata image: what this broker knows of the cluster, taken from ZooKeeper's tree.
//!
//! Always true: an [`Image`] never changes once it is published; a newer one replaces it. Only the control task ([`crate::control`]) makes new ones, from what it reads in
//! ZooKeeper; everybody else reads, or waits for one that shows what they wait for.
//!
//! # Layout
//! - [`image`]: brokers, topics, partitions
//! - [`change`]: one znode's news, and the image after it
//! - [`feed`]: watches, and reading what they point at

pub mod change;
pub mod feed;
pub mod image;

use std::sync::Arc;

use runtime::Clock;
use runtime::clock::Instant;
use tokio::sync::watch;

pub use change::{Change, TopicRead};
pub use image::{Endpoint, Image, LiveBroker, Partition, PartitionState, ReassignmentRequest, Topic};

/// The newest image, for all who read it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MetadataCache {
    images: watch::Receiver<Arc<Image>>,
}

/// Where the control task publishes.
pub type Publisher = watch::Sender<Arc<Image>>;

impl MetadataCache {
    /// A cache with an empty image, and where to publish the next.
    #[must_use]
    pub fn new() -> (Publisher, MetadataCache) {
        let (publisher, images) = watch::channel(Arc::new(Image::default()));
        (publisher, MetadataCache { images })
    }

    /// The newest image.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.images.borrow().clone()
    }

    /// A receiver that sees every later image (or the last of several).
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Image>> {
        self.images.clone()
    }

    /// Waits until an image shows what `shows` looks for; none after `deadline`.
    pub async fn wait_until(
        &self,
        clock: Clock,
        deadline: Instant,
        shows: impl Fn(&Image) -> bool,
    ) -> Option<Arc<Image>> {
        let mut images = self.images.clone();
        tokio::select! {
            biased;
            found = images.wait_for(|image| shows(image)) => found.ok().map(|image| image.clone()),
            () = clock.sleep_until(deadline) => None,
        }
    }
}
