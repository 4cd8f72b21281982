//! What people do to the Secret.

use super::event::Spoil;
use super::{DAY, World};
use crate::tls::ca::authority::Authority;
use crate::tls::ca::stored::{Data, diagnose, render};

impl World {
    /// How many replicas hold the latest state that there was.
    pub(super) fn holders(&self) -> usize {
        let top = self.secrets.iter().filter_map(|(data, _)| diagnose(data.as_ref()?, &self.names).authority);
        let top = top.filter(|authority| authority.is_valid_at(self.wall)).map(|authority| authority.rank()).max();
        let held = self.replicas.iter().filter(|replica| replica.alive).filter_map(|replica| replica.held.as_ref());
        held.filter(|held| Some(held.rank()) == top && held.is_valid_at(self.wall)).count()
    }

    pub(super) fn spoils(&mut self, spoil: Spoil) {
        // When no replica holds it any more, a gap cannot be avoided.
        if self.holders() == 0 {
            return;
        }
        let Some(mut data) = self.secrets[self.latest()].0.clone() else { return };
        let garbage = |key: &str| (key.to_owned(), k8s_openapi::ByteString(b"garbage".to_vec()));
        let data = match spoil {
            Spoil::Emptied => Some(Data::new()),
            Spoil::Garbled => Some(Data::from([garbage("current.crt"), garbage("phase"), garbage("next.crt")])),
            Spoil::KeyLost => {
                data.extend([garbage("current.key")]);
                Some(data)
            }
            Spoil::Expired => {
                let expired = Authority::mint(&self.names, 9, &self.periods, self.wall - DAY * 200).unwrap();
                Some(render(&expired))
            }
            Spoil::Restored(back) => self.secrets[self.latest().saturating_sub(back)].0.clone(),
            Spoil::Deleted => None,
        };
        self.write_secret(data);
    }
}
