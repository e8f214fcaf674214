//! SES receiving: matches the rule, prepends the fields SES prepends, stores the message, writes the notification.
