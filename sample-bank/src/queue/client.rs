//! The queue as the command line sees it.

use crate::Failure;
use crate::call::{Peers, Reply, Trace};
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Where the queue is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Queue {
    /// The queue's address; its name is enough where http_proxy is set
    #[arg(
        long = "queue",
        value_name = "URL",
        env = "BANK_QUEUE",
        default_value = "http://queue"
    )]
    address: String,
}

impl Queue {
    /// `GET`.
    ///
    /// # Errors
    ///
    /// What the queue says, or that it says nothing.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, None::<&()>)
            .await?
            .success("queue")
            .map_err(|p| Failure::new(p.detail))
    }

    /// `POST` without a body.
    ///
    /// # Errors
    ///
    /// See [`Queue::get`].
    pub(crate) async fn post(&self, path: &str) -> Result<Value, Failure> {
        let reply = self.ask(Method::POST, path, None::<&()>).await?;
        reply.success("queue").map_err(|p| Failure::new(p.detail))
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    ///
    /// See [`Queue::get`].
    pub(crate) async fn send(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Value, Failure> {
        let reply = self.ask(Method::POST, path, Some(body)).await?;
        reply.success("queue").map_err(|p| Failure::new(p.detail))
    }

    /// `DELETE`.
    ///
    /// # Errors
    ///
    /// See [`Queue::get`].
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        let reply = self.ask(Method::DELETE, path, None::<&()>).await?;
        reply.success("queue").map_err(|p| Failure::new(p.detail))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Reply, Failure> {
        let url = format!("{}{path}", self.address.trim_end_matches('/'));
        let reply = Peers::new()
            .send(&Trace::default(), method, &url, &[], body)
            .await;
        reply.map_err(|problem| {
            Failure::new(format!(
                "{}. Is the queue at {}? --queue names another address",
                problem.detail, self.address
            ))
        })
    }
}
