//! How a connection becomes a client, how it ends.

use super::event::{CloseReason, Outgoing, Peer, SessionId};
use super::outbox::Outbox;
use super::{Engine, weight};
use crate::wire::{LimitKind, Refusal, SegmentSource, ToClient, Welcome};

impl<D: Clone> Engine<D> {
    pub(super) fn connected(&mut self, session: SessionId, peer: Peer, process: D) {
        let crowded = self.sessions.len() >= self.limits.clients as usize + UNGREETED;
        self.sessions.connect(session, peer, process);
        if crowded {
            self.expel(session, CloseReason::Crowded);
        }
    }

    pub(super) fn hello(&mut self, session: SessionId, name: &str) {
        match self.admit(session, name) {
            Ok(()) => self.effects.flush(session),
            Err(refusal) => {
                self.expel(session, CloseReason::Refused(refusal.clone()));
                if let Some(session) = self.sessions.session_mut(session) {
                    session.outbox.reply(ToClient::Refused {
                        request: 0,
                        refusal,
                    });
                }
            }
        }
    }

    fn admit(&mut self, session: SessionId, name: &str) -> Result<(), Refusal> {
        let user = self
            .sessions
            .session(session)
            .map_or(self.owner_uid, |session| session.peer.uid);
        if user != self.owner_uid {
            return Err(Refusal::OtherUser {
                owner: self.owner_uid,
                user,
            });
        }
        weight::within(LimitKind::NameBytes, name.len(), self.limits.name_bytes)?;
        weight::within(
            LimitKind::Clients,
            self.sessions.clients() + 1,
            self.limits.clients,
        )?;
        let Some(client) = self.sessions.join(session, name) else {
            return Ok(());
        };
        // The word's last client has left its own value there.
        self.effects.raise(client.epoch_index, 0);
        let welcome = self.welcome(client.owner.client, client.epoch_index);
        self.sessions
            .post(session, &mut self.effects, |outbox: &mut Outbox<D>| {
                outbox.welcome = Some(welcome)
            });
        Ok(())
    }

    fn welcome(&self, client: u64, epoch_index: u32) -> Outgoing<D> {
        let descriptors = match self.epochs {
            SegmentSource::Descriptor => self.epoch_descriptor.iter().cloned().collect(),
            _ => Vec::new(),
        };
        let frame = ToClient::Welcome(Welcome {
            client,
            incarnation: self.incarnation,
            epoch_index,
            epochs: self.epochs.clone(),
            limits: self.limits.clone(),
        });
        Outgoing { frame, descriptors }
    }

    /// Ends a session from this side; the driver will report it as closed.
    pub(super) fn expel(&mut self, session: SessionId, reason: CloseReason) {
        self.end_client(session);
        if let Some(session) = self.sessions.session_mut(session) {
            session.outbox.clear();
        }
        self.effects.close(session, reason);
    }

    pub(super) fn closed(&mut self, session: SessionId) {
        self.end_client(session);
        self.sessions.remove(session, &mut self.effects);
    }

    fn end_client(&mut self, session: SessionId) {
        if !self.sessions.leave(session) {
            return;
        }
        let publishers: Vec<_> = self.registry.publishers_of(session).collect();
        let subscribers: Vec<_> = self.registry.subscribers_of(session).collect();
        publishers
            .into_iter()
            .for_each(|publisher| self.remove_publisher(publisher));
        subscribers
            .into_iter()
            .for_each(|subscriber| self.remove_subscriber(subscriber));
        self.drop_live_list(session);
    }
}

/// Connections without a `Hello` besides the clients that are allowed.
const UNGREETED: usize = 64;
