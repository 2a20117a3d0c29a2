/**
 * Tools as public servers of the Model Context Protocol publish them, told again by name and shape only, and what a
 * reviewer would write of each: `labels | sinks | marks`.
 */
export interface PublicTool {
  readonly name: string;
  readonly about: string;
  /** `name` or `name:format`, `name!` where required. */
  readonly takes: string;
  readonly read_only?: boolean;
  readonly expected: string;
}

const code: readonly PublicTool[] = [
  {
    name: 'add_issue_comment',
    about: 'Add a comment to an issue.',
    takes: 'owner! repo! body!',
    expected: 'effect external consequential | owner:handle repo:name',
  },
  {
    name: 'create_or_update_file',
    about: 'Create or update a file in a repository.',
    takes: 'owner! repo! path! content! branch!',
    expected: 'effect | owner:handle repo:name',
  },
  {
    name: 'create_repository',
    about: 'Create a new repository in your account or an organization.',
    takes: 'name! organization private',
    expected: 'effect consequential | organization:name',
  },
  {
    name: 'delete_file',
    about: 'Delete a file from a repository.',
    takes: 'owner! repo! path!',
    expected: 'effect consequential | owner:handle repo:name path:path',
  },
  {
    name: 'get_file_contents',
    about: 'Get the contents of a file.',
    takes: 'owner! repo! path ref',
    read_only: true,
    expected: 'read | | one',
  },
  {
    name: 'issue_read',
    about: 'Get information about an issue.',
    takes: 'method! owner! repo!',
    read_only: true,
    expected: 'read |',
  },
  {
    name: 'list_issues',
    about: 'List issues of a repository.',
    takes: 'owner! repo! state',
    read_only: true,
    expected: 'read |',
  },
  {
    name: 'merge_pull_request',
    about: 'Merge a pull request.',
    takes: 'owner! repo!',
    expected: 'effect external consequential | owner:handle repo:name',
  },
  {
    name: 'run_workflow',
    about: 'Run a workflow by its id.',
    takes: 'owner! repo! workflow_id! ref!',
    expected: 'effect consequential | owner:handle repo:name workflow_id:id',
  },
  {
    name: 'search_code',
    about: 'Fast and precise code search across all repositories.',
    takes: 'query!',
    read_only: true,
    expected: 'read |',
  },
];
const chat: readonly PublicTool[] = [
  {
    name: 'slack_list_channels',
    about: 'List public channels in the workspace.',
    takes: 'cursor',
    expected: 'read |',
  },
  {
    name: 'slack_post_message',
    about: 'Post a new message to a channel.',
    takes: 'channel_id! text!',
    expected: 'effect external consequential | channel_id:id',
  },
  {
    name: 'slack_reply_to_thread',
    about: 'Reply to a message thread.',
    takes: 'channel_id! thread_ts! text!',
    expected: 'effect external consequential | channel_id:id',
  },
  {
    name: 'slack_get_channel_history',
    about: 'Get recent messages from a channel.',
    takes: 'channel_id!',
    expected: 'read |',
  },
  {
    name: 'slack_get_thread_replies',
    about: 'Get all replies in a thread.',
    takes: 'channel_id! thread_ts!',
    expected: 'read |',
  },
];
const files: readonly PublicTool[] = [
  {
    name: 'read_text_file',
    about: 'Read the complete contents of a file.',
    takes: 'path!',
    expected: 'read | | one',
  },
  { name: 'read_multiple_files', about: 'Read several files at once.', takes: 'paths!', expected: 'read |' },
  {
    name: 'write_file',
    about: 'Create a new file or overwrite an existing one.',
    takes: 'path! content!',
    expected: 'effect local |',
  },
  {
    name: 'move_file',
    about: 'Move or rename files and directories.',
    takes: 'source! destination!',
    expected: 'effect local |',
  },
  {
    name: 'list_allowed_directories',
    about: 'Returns the list of directories that may be read.',
    takes: '',
    expected: 'read |',
  },
];
const database: readonly PublicTool[] = [
  { name: 'query', about: 'Run a SQL query', takes: 'sql!', expected: 'effect consequential |' },
  { name: 'query_readonly', about: 'Run a read-only SQL query', takes: 'sql!', expected: 'read |' },
  {
    name: 'execute_sql',
    about: 'Executes raw SQL in the database.',
    takes: 'project_id! query!',
    expected: 'effect consequential | project_id:id',
  },
  { name: 'list_tables', about: 'Lists all tables.', takes: 'schemas', expected: 'read |' },
];
const browser: readonly PublicTool[] = [
  {
    name: 'browser_navigate',
    about: 'Navigate to a URL',
    takes: 'url!',
    expected: 'read external | url:url | one',
  },
  {
    name: 'browser_click',
    about: 'Perform click on a web page',
    takes: 'element! ref!',
    expected: 'effect external |',
  },
  {
    name: 'browser_snapshot',
    about: 'Capture a snapshot of the current page',
    takes: '',
    expected: 'read external |',
  },
  {
    name: 'browser_evaluate',
    about: 'Evaluate a JavaScript expression on the page',
    takes: 'function!',
    expected: 'effect external consequential |',
  },
];
const money: readonly PublicTool[] = [
  {
    name: 'create_payout',
    about: 'Creates a payout to an external bank account.',
    takes: 'amount! destination!',
    expected: 'effect consequential | destination:any',
  },
  {
    name: 'create_refund',
    about: 'This tool will refund a payment.',
    takes: 'payment_intent!',
    expected: 'effect consequential |',
  },
  {
    name: 'list_customers',
    about: 'This tool will fetch a list of customers.',
    takes: 'email',
    expected: 'read |',
  },
  {
    name: 'retrieve_balance',
    about: 'This tool will retrieve the balance.',
    takes: '',
    expected: 'read | | facts',
  },
];
const notes: readonly PublicTool[] = [
  { name: 'API-post-search', about: 'Search by title', takes: 'query', expected: 'read |' },
  {
    name: 'API-patch-page',
    about: 'Update page properties',
    takes: 'page_id!',
    expected: 'effect external | page_id:id',
  },
  {
    name: 'API-delete-a-block',
    about: 'Delete a block',
    takes: 'block_id!',
    expected: 'effect consequential | block_id:id',
  },
];
const office: readonly PublicTool[] = [
  {
    name: 'send_gmail_message',
    about: 'Sends an email.',
    takes: 'to! cc bcc subject! body!',
    expected: 'effect external consequential | to:any cc:mail bcc:mail',
  },
  {
    name: 'get_gmail_message_content',
    about: 'Retrieves the content of a message.',
    takes: 'message_id!',
    expected: 'read |',
  },
  {
    name: 'share_drive_file',
    about: 'Shares a file with a user or group.',
    takes: 'file_id! share_with',
    expected: 'effect external consequential | file_id:id share_with:any',
  },
  {
    name: 'manage_gmail_filter',
    about: 'Manages filters: creates or deletes them.',
    takes: 'action! filter_id',
    expected: 'effect | filter_id:id',
  },
  {
    name: 'delete_event',
    about: 'Deletes an event.',
    takes: 'event_id!',
    expected: 'effect consequential | event_id:id',
  },
];
const others: readonly PublicTool[] = [
  {
    name: 'contactsExport',
    about: 'Export contacts to a file or an external location.',
    takes: 'format dst',
    expected: 'effect external consequential | dst:any',
  },
  { name: 'contacts_export', about: 'Export contacts.', takes: 'format', expected: 'read |' },
  {
    name: 'return_item',
    about: 'Request a return for an item.',
    takes: 'order_id! item_id!',
    expected: 'effect | order_id:id item_id:id',
  },
  { name: 'track_order', about: 'Track an order.', takes: 'order_id!', expected: 'read | | one' },
  {
    name: 'apply_coupon',
    about: 'Apply a coupon code.',
    takes: 'code!',
    expected: 'effect external consequential |',
  },
  {
    name: 'verify_payment',
    about: 'Verify a payment with the one-time code.',
    takes: 'otp!',
    expected: 'effect | | confirms',
  },
  {
    name: 'alarm_disarm',
    about: 'Disarm the alarm.',
    takes: 'pin!',
    expected: 'effect consequential sensitive |',
  },
  {
    name: 'secret-put',
    about: 'Write a secret into the vault.',
    takes: 'path! value!',
    expected: 'effect consequential sensitive |',
  },
  {
    name: 'AuthorizeSecurityGroupIngress',
    about: 'Adds inbound rules.',
    takes: 'GroupId! CidrIp!',
    expected: 'effect consequential | GroupId:id CidrIp:any',
  },
  {
    name: 'delete_message',
    about: 'Deletes a message.',
    takes: 'message_id!',
    expected: 'effect consequential | message_id:id',
  },
  {
    name: 'search_and_replace',
    about: 'Replaces text everywhere.',
    takes: 'pattern! replacement!',
    expected: 'effect |',
  },
  { name: 'ticket.get', about: 'Get a ticket.', takes: 'ticketId!', expected: 'read |' },
];

/** One list for each server: a service's tools are proposed together. */
export const PUBLIC_SERVERS: Readonly<Record<string, readonly PublicTool[]>> = {
  code,
  chat,
  files,
  database,
  browser,
  money,
  notes,
  office,
  others,
};
