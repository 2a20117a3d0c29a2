import type { SinkKind } from './values.ts';

/**
 * The words by which `suggest` reads a tool list: ordinary English of APIs, never the names of one product.
 * A wrong guess is a proposal for a person to correct, so where two readings are possible the stricter is taken.
 */

export const READ_VERBS = words(
  'get list search read fetch find show view check query count describe lookup look retrieve browse visit navigate goto load download clone pull inspect summarize summarise analyze analyse validate calculate compute compare preview scan monitor status whoami head filter watch poll explain return returns access crawl scrape screenshot snapshot capture render extract parse translate transcribe track trace locate discover enumerate suggest recommend estimate quote forecast predict diff peek ls cat stat grep tail ping test measure',
);
export const DESTRUCTIVE_VERBS = words(
  'delete remove drop destroy erase purge wipe revoke cancel terminate kill kick ban unshare disable deactivate close archive uninstall reset clear transfer truncate refund void withdraw disconnect unsubscribe block unlock disarm detach unpublish overwrite evict expire suspend abort shutdown decommission rollback revert discard dismantle',
);
export const SENDING_VERBS = words(
  'send pay post publish share invite email mail forward submit push upload reply respond message notify call tweet broadcast announce transfer wire remit donate order buy purchase book reserve checkout deploy release merge comment dm text invoke subscribe register apply grant assign add input fill tip bid trade sell swap disclose transmit dispatch deliver escalate delegate promote launch trigger pair enroll enrol allow permit charge payout disburse hire contact ship redirect route',
);
export const CHANGING_VERBS = words(
  'create update change set edit modify write append add insert rename move copy put patch schedule reschedule enable save mark star unstar like follow unfollow approve reject accept sign login log verify confirm authorize authorise start stop restart run execute make replace toggle configure pin unpin manage upsert convert resolve reopen select click type press drag fork request attach renew finalize draft react vote rate rotate enqueue import sync process handle evaluate exec eval provision build trust link connect unassign tag label',
);
/** Verbs of moving a copy of something: they only read, unless a parameter says where the copy goes. */
export const TRANSFER_VERBS = words('export dump backup replicate mirror');
/** Verbs that read here and act there (return a value, return a parcel): the description decides, and else they act. */
export const OPEN_VERBS = words(
  'return returns open select convert process handle log link rate test access evaluate request capture',
);
/** Verbs that are nouns as often (an order, a comment, a list): a plain verb beside them counts first. */
export const NOUN_VERBS = words(
  'order post comment mail email message text call book share review star pin tag label query copy reply transfer purchase release block deploy fork branch merge input bid trade tip wire head status count track trace test quote log draft request contact route ship build link process charge payout release snapshot screenshot capture stat cat watch vote rate tweet list filter search archive check report view schedule',
);
/** Verbs that stay in the agent's own working copy when what they touch is a file. */
export const WORKING_COPY_VERBS = words('create make copy move write append save mkdir rename edit new');
export const FILE_NOUNS = words('file files directory dir folder path paths node document local');

/** Where things wait until somebody sends or orders them. */
export const STAGING_NOUNS = words('cart basket draft drafts wishlist clipboard scratchpad');

/** Paying, booking, publishing, access and accounts: hard to take back. */
export const CONSEQUENTIAL_NOUNS = words(
  'money payment transaction transfer funds invoice order purchase reservation booking password credential credentials permission permissions role roles owner ownership member members collaborator collaborators key keys account user users repository repo database table deployment production payout refund charge payroll salary subscription deposit policy policies acl access firewall ingress egress webhook webhooks dns domain certificate secret secrets vault license billing shipping delivery lock door alarm prescription',
);
/** Whatever is handed to them is run: what they do is not in their name. */
export const CODE_WORDS = words(
  'sql script code command shell bash javascript python function workflow migration terminal',
);
export const RUNNING_VERBS = words('run execute exec eval evaluate invoke apply');
export const SENSITIVE_NOUNS = words(
  'password passwords passport ssh credential credentials secret secrets token tokens apikey ssn otp pin private',
);
export const SENSITIVE_PHRASES = [
  'credit card',
  'debit card',
  'card number',
  'passport number',
  'social security number',
  'api key',
  'ssh key',
  'secret key',
  'private key',
  'access key',
  'access token',
];
/** What a directory states about its entries: the service's own facts, not what visitors wrote. */
export const FACT_NOUNS = words(
  'price prices address addresses hours rate rates balance day date time count cuisine types options availability weather status version amount currency timezone flight distance',
);
/** Records that strangers fill in: whatever stands in them, they chose. */
export const OPINION_NOUNS = words(
  'review reviews comment comments message messages post posts feedback note notes description inbox mail email emails issue issues ticket tickets case cases chat chats conversation conversations thread threads reply replies request requests lead leads submission submissions application applications form forms survey surveys response responses answer answers letter letters discussion discussions notification notifications dm sms bug bugs incident incidents visitor visitors signup signups subscriber subscribers',
);
/** Records that name where money goes, written by whoever wants it. */
export const BILL_NOUNS = words('invoice invoices bill bills receipt receipts quote quotes claim claims');
export const OUTSIDE_NOUNS = words('web webpage website url internet http link page site email mail sms');
/** A read of these is a read of the open web, whatever it takes. */
export const WEB_NOUNS = words('web webpage website internet browser');
export const CODE_NAMES = words('otp code passcode verification pin mfa totp');
export const CONFIRMING_VERBS = words(
  'verify confirm validate authenticate authorize authorise approve verification confirmation otp mfa totp 2fa',
);
export const LOGIN_WORDS = words('login signin logon authenticate auth');
/** Last words of parameters that say how, when or how much, never where. */
export const QUALITY_WORDS = words(
  'ts timestamp date time day limit count size format type types status state role permission permissions mode method kind color colour language locale currency amount quantity priority level sha events event reason rating page cursor offset order sort direction visibility version duration interval ttl expiry enabled flag flags seconds minutes hours days ms bytes percent index width height',
);
/** First words of parameters that say who acts or what it was before. */
export const OWN_SIDE_WORDS = words('from sender source src my current old previous origin local');
/** A parameter that says how far the result can be seen. */
export const VISIBILITY_WORDS = words('public visibility publicly');

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(' '));
}

interface KindWords {
  readonly kind: SinkKind;
  readonly words: ReadonlySet<string>;
}

/** Parameter words that name a destination, in order of precedence. */
export const SINK_WORDS: readonly KindWords[] = [
  { kind: 'mail', words: words('email emails mail mails cc bcc') },
  {
    kind: 'url',
    words: words(
      'url urls uri link href webhook webhooks endpoint website webpage domain host hostname callback',
    ),
  },
  { kind: 'account', words: words('iban account accounts payee payees beneficiary wallet bic swift') },
  { kind: 'phone', words: words('phone telephone mobile msisdn sms fax') },
  { kind: 'key', words: words('key keys password passphrase secret credential fingerprint') },
  {
    kind: 'channel',
    words: words('channel channels room group topic queue bucket chat conversation thread team workspace'),
  },
  {
    kind: 'any',
    words: words(
      'recipient recipients to destination destinations dst dest target targets receiver receivers addressee addressees address addresses participants participant attendees attendee invitee invitees guests with whom grantee grantees principal cidr ip ips',
    ),
  },
  {
    kind: 'handle',
    words: words(
      'user users username usernames handle member members collaborator collaborators owner assignee assignees login person contact contacts friend reviewer reviewers approver delegate',
    ),
  },
  {
    kind: 'name',
    words: words(
      'repo repository project organization organisation org company hotel restaurant vendor merchant store provider site database table cluster namespace registry supplier carrier courier pharmacy bank insurer payer seller buyer customer client tenant partner',
    ),
  },
];

/** Words that say how a recipient is written, found in a parameter's description. */
export const DESCRIBED_KINDS: readonly KindWords[] = [
  { kind: 'account', words: words('iban account wallet') },
  { kind: 'mail', words: words('email emails e-mail mail addresses') },
  { kind: 'phone', words: words('phone telephone') },
  { kind: 'url', words: words('url uri link') },
  { kind: 'channel', words: words('channel room') },
  { kind: 'handle', words: words('username user handle') },
];

/** Words of an identifier or a sentence, lower case, plural kept: `new_owner_email`, `newOwnerEmail`. */
export function wordsOf(text: string): string[] {
  const out: string[] = [];
  let word = '';
  for (let i = 0; i < text.length && i < 4096; i++) {
    const character = text[i] ?? '';
    const lower = character.toLowerCase();
    const letter = lower !== character.toUpperCase() || (character >= '0' && character <= '9');
    const hump =
      letter && lower !== character && word !== '' && text[i - 1] === (text[i - 1] ?? '').toLowerCase();
    if ((!letter || hump) && word !== '') {
      out.push(word);
      word = '';
    }
    if (letter) word += lower;
  }
  if (word !== '') out.push(word);
  return out;
}
