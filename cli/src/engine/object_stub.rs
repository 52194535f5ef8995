//! In the place of `object`, where the program is built without the feature `object-store`.
//!
//! Owns the refusal. The types have no values.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use super::buffers::Space;
use super::stop::Stop;
use super::store::{Place, Shelf, Sink, Source, Writing};
use crate::failure::Failure;

/// Refuses every URL.
pub fn check(url: &str) -> Result<(), Failure> {
    Err(Failure::input(format!(
        "{url}: this program was built without object stores: build it with `--features object-store`"
    )))
}

/// Of a stripe that there cannot be.
pub fn held(_transfer: usize) -> usize {
    0
}

pub struct Destination(Infallible);

impl Destination {
    pub fn open(url: &str, _writing: &Writing) -> Result<Destination, Failure> {
        match check(url) {
            Err(failure) => Err(failure),
            Ok(()) => Err(Failure::input(url.to_owned())),
        }
    }

    pub fn notes(&self) -> &[String] {
        match self.0 {}
    }
}

impl Place for Destination {
    type Sink<S: Space> = Stripe<S>;

    fn create<S: Space>(&self, _stripe: u32) -> io::Result<Stripe<S>> {
        match self.0 {}
    }

    fn commit(&self, _catalogue: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    fn discard(&self) -> io::Result<()> {
        match self.0 {}
    }
}

pub struct Stripe<S>(Infallible, PhantomData<S>);

impl<S: Space> Sink<S> for Stripe<S> {
    fn append(&mut self, _space: S, _payload: usize) -> io::Result<()> {
        match self.0 {}
    }

    fn finish(self) -> io::Result<()> {
        match self.0 {}
    }

    fn abort(self) {
        match self.0 {}
    }
}

pub struct Backup(Infallible);

impl Backup {
    pub fn open(url: &str, _retry: Duration) -> Result<Backup, Failure> {
        match check(url) {
            Err(failure) => Err(failure),
            Ok(()) => Err(Failure::input(url.to_owned())),
        }
    }

    pub fn incomplete(&self) -> String {
        match self.0 {}
    }
}

impl Shelf for Backup {
    type Source = StripeSource;

    fn catalogue(&self) -> io::Result<Vec<u8>> {
        match self.0 {}
    }

    fn open(&self, _stripe: u32) -> io::Result<StripeSource> {
        match self.0 {}
    }
}

pub struct StripeSource(Infallible);

impl Source for StripeSource {
    fn length(&self) -> u64 {
        match self.0 {}
    }

    fn read<S: Space>(
        &self,
        _offset: u64,
        _space: &mut S,
        _from: usize,
        _to: usize,
        _stop: &Stop,
    ) -> io::Result<usize> {
        match self.0 {}
    }
}
