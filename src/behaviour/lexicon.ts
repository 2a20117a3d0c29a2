import type { FieldTrust } from './catalogue.ts';
import type { SinkKind } from './values.ts';

/**
 * The words by which `suggest` reads a tool list: ordinary English of APIs, never the names of one product.
 * A wrong guess is a proposal for a person to correct, so where two readings are possible the stricter is taken.
 */

export const READ_VERBS = new Set(
  'get list search read fetch find show view check query count describe lookup look retrieve browse visit open load download clone pull inspect summarize summarise analyze analyse validate calculate compute compare preview scan monitor status whoami head select filter watch poll export explain return returns access'.split(
    ' ',
  ),
);
export const DESTRUCTIVE_VERBS = new Set(
  'delete remove drop destroy erase purge wipe revoke cancel terminate kill kick ban unshare disable deactivate close archive uninstall reset clear transfer truncate refund void withdraw disconnect unsubscribe block'.split(
    ' ',
  ),
);
export const SENDING_VERBS = new Set(
  'send pay post publish share invite email mail forward submit push upload reply message notify call tweet broadcast announce transfer wire remit donate order buy purchase book reserve checkout deploy release merge comment dm text invoke subscribe register apply grant assign add input fill tip bid trade sell swap'.split(
    ' ',
  ),
);
export const CHANGING_VERBS = new Set(
  'create update change set edit modify write append add insert rename move copy put patch schedule reschedule enable save mark star unstar like follow unfollow approve reject accept sign login log verify confirm authorize authorise start stop restart run execute make replace toggle configure pin unpin'.split(
    ' ',
  ),
);
/** Verbs that stay in the agent's own working copy when what they touch is a file. */
export const WORKING_COPY_VERBS = new Set(
  'create make copy move write append save mkdir rename edit new'.split(' '),
);
export const FILE_NOUNS = new Set('file files directory dir folder path node document local'.split(' '));

/** Where things wait until somebody sends or orders them. */
export const STAGING_NOUNS = new Set('cart basket draft drafts wishlist clipboard scratchpad'.split(' '));

/** Paying, booking, publishing, access and accounts: hard to take back. */
export const CONSEQUENTIAL_NOUNS = new Set(
  'money payment transaction transfer funds invoice order purchase reservation booking password credential credentials permission permissions role roles owner ownership member members collaborator collaborators key keys account user users repository repo database table deployment production'.split(
    ' ',
  ),
);
export const SENSITIVE_NOUNS = new Set(
  'password passwords passport ssh credential credentials secret secrets token tokens apikey ssn card otp pin private'.split(
    ' ',
  ),
);
export const SENSITIVE_PHRASES = [
  'credit card',
  'passport number',
  'api key',
  'ssh key',
  'secret key',
  'private key',
  'access token',
];
/** What a directory states about its entries: the service's own facts, not what visitors wrote. */
export const FACT_NOUNS = new Set(
  'price prices address addresses hours rate rates balance day date time count cuisine types options availability weather status version amount currency timezone schedule flight distance'.split(
    ' ',
  ),
);
export const OPINION_NOUNS = new Set(
  'review reviews comment comments message messages post posts feedback note notes description inbox mail email emails issue issues'.split(
    ' ',
  ),
);
export const OUTSIDE_NOUNS = new Set(
  'web webpage website url internet http link page site email mail sms'.split(' '),
);
export const CONFIRMATION_WORDS = new Set('otp code passcode verification pin mfa totp'.split(' '));

interface KindWords {
  readonly kind: SinkKind;
  readonly words: ReadonlySet<string>;
}

/** Parameter words that name a destination, in order of precedence. */
export const SINK_WORDS: readonly KindWords[] = [
  { kind: 'mail', words: new Set('email emails mail mails cc bcc'.split(' ')) },
  {
    kind: 'url',
    words: new Set('url urls uri link href webhook endpoint website webpage domain host callback'.split(' ')),
  },
  { kind: 'account', words: new Set('iban account accounts payee beneficiary wallet bic swift'.split(' ')) },
  { kind: 'phone', words: new Set('phone telephone mobile msisdn sms'.split(' ')) },
  { kind: 'key', words: new Set('key keys password passphrase secret credential fingerprint'.split(' ')) },
  {
    kind: 'channel',
    words: new Set(
      'channel channels room group topic queue bucket chat conversation thread team workspace'.split(' '),
    ),
  },
  {
    kind: 'any',
    words: new Set(
      'recipient recipients to destination target receiver addressee address addresses participants participant attendees attendee invitee invitees guests'.split(
        ' ',
      ),
    ),
  },
  {
    kind: 'handle',
    words: new Set(
      'user users username usernames handle member members collaborator collaborators owner assignee assignees login person contact friend'.split(
        ' ',
      ),
    ),
  },
  {
    kind: 'name',
    words: new Set(
      'repo repository project organization organisation org company hotel restaurant vendor merchant store provider site database table cluster namespace'.split(
        ' ',
      ),
    ),
  },
];

/** Words that say how a recipient is written, found in a parameter's description. */
export const DESCRIBED_KINDS: readonly KindWords[] = [
  { kind: 'account', words: new Set('iban account wallet'.split(' ')) },
  { kind: 'mail', words: new Set('email emails e-mail mail addresses'.split(' ')) },
  { kind: 'phone', words: new Set('phone telephone'.split(' ')) },
  { kind: 'url', words: new Set('url uri link'.split(' ')) },
  { kind: 'channel', words: new Set('channel room'.split(' ')) },
  { kind: 'handle', words: new Set('username user handle'.split(' ')) },
];

interface FieldWord {
  readonly trust: FieldTrust;
  readonly kind?: SinkKind;
  readonly author?: boolean;
  readonly names: readonly string[];
}

/** Member names that mean the same nearly everywhere, by who gets to choose the value. */
export const FIELD_WORDS: readonly FieldWord[] = [
  {
    trust: 'counterparty',
    kind: 'mail',
    author: true,
    names: ['sender', 'from', 'reply_to', 'from_email', 'sender_email'],
  },
  { trust: 'counterparty', kind: 'mail', names: ['recipients', 'cc', 'bcc', 'to'] },
  {
    trust: 'counterparty',
    kind: 'handle',
    author: true,
    names: ['author', 'created_by', 'posted_by', 'submitted_by', 'from_user'],
  },
  { trust: 'counterparty', kind: 'handle', names: ['username', 'user'] },
  {
    trust: 'system',
    kind: 'account',
    names: ['iban', 'account', 'account_number', 'recipient', 'payee'],
  },
  {
    trust: 'system',
    kind: 'mail',
    names: [
      'email',
      'mail',
      'owner',
      'participants',
      'attendees',
      'members',
      'collaborators',
      'assignee',
      'organizer',
      'user_email',
    ],
  },
  {
    trust: 'system',
    kind: 'name',
    names: ['first_name', 'last_name', 'full_name', 'owner_name', 'contact_name'],
  },
  {
    trust: 'system',
    kind: 'name',
    names: [
      'repository',
      'repositories',
      'repo',
      'repos',
      'project',
      'projects',
      'channel',
      'channels',
      'groups',
      'teams',
    ],
  },
  { trust: 'system', kind: 'phone', names: ['phone', 'phone_number', 'mobile'] },
  {
    trust: 'system',
    kind: 'id',
    names: [
      'id',
      'id_',
      '_id',
      'uuid',
      'event_id',
      'file_id',
      'message_id',
      'email_id',
      'transaction_id',
      'order_id',
      'user_id',
      'thread_id',
      'attachments',
    ],
  },
  {
    trust: 'system',
    names: [
      'amount',
      'date',
      'time',
      'timestamp',
      'created_at',
      'updated_at',
      'last_modified',
      'start_time',
      'end_time',
      'status',
      'state',
      'read',
      'recurring',
      'size',
      'count',
      'total',
      'currency',
      'price',
      'type',
      'permission',
      'permissions',
      'all_day',
      'balance',
      'enabled',
      'role',
    ],
  },
  {
    trust: 'third_party',
    names: [
      'body',
      'content',
      'contents',
      'text',
      'subject',
      'title',
      'description',
      'comment',
      'comments',
      'review',
      'reviews',
      'message',
      'messages',
      'note',
      'notes',
      'snippet',
      'summary',
      'html',
      'markdown',
      'caption',
      'bio',
      'feedback',
      'issues',
      'issue',
      'location',
      'filename',
      'name',
      'remark',
      'memo',
      'reference',
    ],
  },
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
