// The notification service: mails to customers about their orders.
#pragma once

#include "service_process.hpp"

namespace shop {

/// Sends by the mail server whose folder the environment names as MAIL.
ServiceCode notification_service();

}  // namespace shop
