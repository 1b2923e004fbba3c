//! What members of queue groups leave unread: kept until it is read, whoever reads it.
//!
//! An *estate* is a lane of a member, or what is left of one: everything that it takes to read on in it. It begins when the
//! publisher offers its half, and ends when its reader has read to the end, or when nobody is left to read. A member that dies
//! before its publisher has made the half that it was asked for leaves one without a half.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::{Outgoing, SessionId};
use super::registry::{Handle, Publisher};
use crate::wire::{Inherited, LaneId, Medium, SegmentSource, ToClient};

/// A lane of a queue group's member, or what is left of one.
pub(super) struct Estate<D> {
    /// The lane as its publisher knows it.
    pub(super) origin: LaneId,
    pub(super) publisher: Handle,
    /// What the publisher has declared; it may be gone.
    pub(super) declared: Arc<Publisher>,
    /// Who reads.
    pub(super) member: Handle,
    /// `None` until it has come.
    pub(super) half: Option<PublishedHalf<D>>,
    /// How far the lane is read: of the member that answered last.
    pub(super) page: Option<ReadHalf<D>>,
    /// Whether the present member has answered.
    pub(super) answered: bool,
    /// Whether it is known that nothing more comes.
    pub(super) closed: bool,
}

/// What a publisher has offered.
#[derive(Clone)]
pub(super) struct PublishedHalf<D> {
    pub(super) segment: SegmentSource,
    /// Process, segment if it is one, bell.
    pub(super) descriptors: Vec<D>,
}

/// Where a member tells how far it has come.
#[derive(Clone)]
pub(super) struct ReadHalf<D> {
    pub(super) segment: SegmentSource,
    pub(super) descriptor: Option<D>,
    pub(super) area: u32,
}

/// All estates.
pub(super) struct Estates<D> {
    /// By the lane as its present member knows it.
    estates: BTreeMap<LaneId, Estate<D>>,
    /// By the lane as its publisher knows it.
    origins: BTreeMap<LaneId, LaneId>,
    members: BTreeSet<(Handle, LaneId)>,
}

impl<D: Clone> Estate<D> {
    /// Whether the present member was not the first.
    pub(super) fn is_inherited(&self, lane: LaneId) -> bool {
        self.origin != lane
    }

    /// What the present member is to be told, once the publisher's half is there.
    pub(super) fn offer(&self, lane: LaneId) -> Option<Outgoing<D>> {
        let half = self.half.as_ref()?;
        let mut descriptors = half.descriptors.clone();
        let inherited = self.is_inherited(lane).then(|| {
            let page = self.page.as_ref();
            descriptors.extend(page.and_then(|page| page.descriptor.clone()));
            Inherited {
                page: page.map(|page| page.segment.clone()),
                area: page.map_or(0, |page| page.area),
            }
        });
        let frame = ToClient::LaneOffered {
            lane,
            subscriber: self.member.id,
            publisher_client: self.declared.owner.client,
            publisher_handle: self.publisher.id,
            publisher_name: self.declared.owner.name.to_string(),
            publisher: self.declared.spec.clone(),
            medium: Medium::Ring,
            segment: half.segment.clone(),
            history: None,
            courier: false,
            begin: None,
            inherited,
        };
        Some(Outgoing { frame, descriptors })
    }

    /// The news that nothing more comes.
    pub(super) fn ended(&self, lane: LaneId) -> ToClient {
        ToClient::LaneEnded {
            lane,
            subscriber: self.member.id,
            publisher_name: self.declared.owner.name.to_string(),
            refusal: None,
        }
    }
}

impl<D> Estates<D> {
    pub(super) fn new() -> Self {
        Self {
            estates: BTreeMap::new(),
            origins: BTreeMap::new(),
            members: BTreeSet::new(),
        }
    }

    pub(super) fn insert(&mut self, lane: LaneId, estate: Estate<D>) {
        self.origins.insert(estate.origin, lane);
        self.members.insert((estate.member, lane));
        self.estates.insert(lane, estate);
    }

    pub(super) fn remove(&mut self, lane: LaneId) -> Option<Estate<D>> {
        let estate = self.estates.remove(&lane)?;
        self.origins.remove(&estate.origin);
        self.members.remove(&(estate.member, lane));
        Some(estate)
    }

    /// By the lane as its member knows it.
    pub(super) fn get_mut(&mut self, lane: LaneId) -> Option<&mut Estate<D>> {
        self.estates.get_mut(&lane)
    }

    /// By the lane as its publisher knows it; with the lane as its member does.
    pub(super) fn by_origin(&mut self, origin: LaneId) -> Option<(LaneId, &mut Estate<D>)> {
        let lane = *self.origins.get(&origin)?;
        Some((lane, self.estates.get_mut(&lane)?))
    }

    /// Lanes of a member, in the order in which it got them.
    pub(super) fn of_member(&self, member: Handle) -> impl Iterator<Item = LaneId> {
        self.members
            .range((member, LaneId::MIN)..=(member, LaneId::MAX))
            .map(|&(_, lane)| lane)
    }

    /// Lanes of all members of a session.
    pub(super) fn of_session(&self, session: SessionId) -> impl Iterator<Item = LaneId> {
        let members = Handle::all_of(session);
        self.members
            .range((*members.start(), LaneId::MIN)..=(*members.end(), LaneId::MAX))
            .map(|&(_, lane)| lane)
    }

    /// Lanes of a publisher, as their members know them.
    pub(super) fn of_publisher(&self, publisher: Handle) -> Vec<LaneId> {
        let of_publisher = self
            .estates
            .iter()
            .filter(|(_, estate)| estate.publisher == publisher);
        of_publisher.map(|(&lane, _)| lane).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.estates.len(), self.members.len());
        assert_eq!(self.estates.len(), self.origins.len());
        self.estates.len()
    }
}
