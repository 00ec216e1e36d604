//! Stub.
use std::net::IpAddr;
use crate::model::api::{ApiAnswer, ApiCall};
use crate::model::connection::PeerAddress;
use crate::model::log::LogLine;
use crate::model::time::{Monotonic, Now};
use crate::wire::send_queue::SendQueue;
use std::rc::Rc;
/// x
#[derive(Default)]
pub struct ApiClientSettings { 
    /// x
    pub auth: Option<(String,String)>, 
    /// x
    pub allowed: Option<Vec<(IpAddr,u8)>> }
/// x
pub struct ApiClient { q: SendQueue }
/// x
pub enum ApiClientOutput { 
    /// x
    Call { 
        /// x
        number: u64, 
        /// x
        call: ApiCall }, 
    /// x
    Close, 
    /// x
    Log(LogLine) }
#[allow(missing_docs, clippy::all, unused)]
impl ApiClient {
    pub fn new(_s: Rc<ApiClientSettings>, _p: PeerAddress, _n: Now) -> Self { Self { q: SendQueue::default() } }
    pub fn receive(&mut self, _b: &[u8], _n: Now) {}
    pub fn handle_answer(&mut self, _n: u64, _a: ApiAnswer, _now: Now) {}
    pub fn handle_timeout(&mut self, _n: Now) {}
    pub fn handle_flushed(&mut self, _n: Now) {}
    pub fn poll_timeout(&self) -> Option<Monotonic> { None }
    pub fn poll_output(&mut self) -> Option<ApiClientOutput> { None }
    pub fn send_queue(&mut self) -> &mut SendQueue { &mut self.q }
    pub fn wants_read(&self) -> bool { true }
}
