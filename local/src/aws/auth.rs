//! Who calls: every instance of a function has its own access key, the person at the keyboard has
//! [`OPERATOR_KEY`]. A request is believed only if its Signature Version 4 is right.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

use crate::policy::Role;

/// Access key id of the operator: for the AWS CLI, boto3 and tests. It may do everything.
pub const OPERATOR_KEY: &str = "AKIALOCALOPERATOR000";
/// The operator's secret. It protects nothing: the endpoint listens on loopback only.
pub const OPERATOR_SECRET: &str = "local-operator-secret";

/// Access keys and who has them.
#[derive(Debug, Clone, Default)]
pub struct Callers(Arc<Mutex<HashMap<String, Arc<Caller>>>>);

/// Somebody with an access key.
#[derive(Debug)]
pub struct Caller {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `None` for the operator.
    pub function: Option<FunctionCaller>,
}

/// An instance of a function.
#[derive(Debug)]
pub struct FunctionCaller {
    /// Function name.
    pub name: String,
    /// Its execution role.
    pub role: Role,
    invocation: Mutex<Option<Invocation>>,
    kill: Notify,
}

/// What an instance is working on, for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Lambda's request id.
    pub request_id: String,
    /// SES's messageId of the message it is about, where one is known.
    pub message_id: Option<String>,
}

impl Callers {
    /// Gives an instance of a function an access key. The key is void once the registration is dropped.
    pub fn register(&self, function: &str, role: Role) -> Registration {
        let caller = Arc::new(Caller {
            access_key_id: format!("ASIA{}", &uuid::Uuid::new_v4().simple().to_string().to_uppercase()[..16]),
            secret_access_key: uuid::Uuid::new_v4().simple().to_string(),
            function: Some(FunctionCaller {
                name: function.to_owned(),
                role,
                invocation: Mutex::default(),
                kill: Notify::new(),
            }),
        });
        self.0
            .lock()
            .expect("no holder of this lock panics")
            .insert(caller.access_key_id.clone(), Arc::clone(&caller));
        Registration { callers: self.clone(), caller }
    }

    /// Who has this access key.
    pub fn get(&self, access_key_id: &str) -> Option<Arc<Caller>> {
        self.0.lock().expect("no holder of this lock panics").get(access_key_id).cloned()
    }
}

/// An instance's access key, void when dropped.
#[derive(Debug)]
pub struct Registration {
    callers: Callers,
    caller: Arc<Caller>,
}

impl Registration {
    /// `AWS_ACCESS_KEY_ID` for the instance's environment.
    pub fn access_key_id(&self) -> &str {
        &self.caller.access_key_id
    }

    /// `AWS_SECRET_ACCESS_KEY` for the instance's environment.
    pub fn secret_access_key(&self) -> &str {
        &self.caller.secret_access_key
    }

    /// Notes what the instance works on from now: journal entries of its calls name that message.
    pub fn set_invocation(&self, invocation: Option<Invocation>) {
        *self.function().invocation.lock().expect("no holder of this lock panics") = invocation;
    }

    /// Ends when a `kill` fault asks to kill this instance. The call that met the fault is not
    /// answered before the instance is gone.
    pub async fn killed(&self) {
        self.function().kill.notified().await;
    }

    fn function(&self) -> &FunctionCaller {
        self.caller.function.as_ref().expect("a registration is a function's")
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.callers.0.lock().expect("no holder of this lock panics").remove(&self.caller.access_key_id);
    }
}
