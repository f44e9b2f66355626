import { type ErrorCode, OffloadError } from '@cni-offload/sdk'

/** How a call of kubectl failed. */
export type KubectlFailureKind =
  /** There is no such program, or it may not be executed. */
  | 'missing'
  /** Its configuration cannot be read, or has no such context. */
  | 'config'
  /** The API server does not answer. */
  | 'unreachable'
  /** The API server does not know who asks. */
  | 'unauthorized'
  /** The API server does not allow it. */
  | 'forbidden'
  /** The object is not there. */
  | 'not-found'
  /** The cluster has no objects of this kind. */
  | 'unknown-kind'
  /** The object is there already. */
  | 'exists'
  /** The object was changed by somebody else meanwhile. */
  | 'conflict'
  /** It did not end in time, or what it was to wait for did not happen. */
  | 'timeout'
  /** Anything else. */
  | 'failed'

interface Rule {
  readonly pattern: RegExp
  readonly kind: KubectlFailureKind
}

/** What kubectl prints; the first that fits counts. */
const RULES: readonly Rule[] = [
  { pattern: /\(Forbidden\)|is forbidden:/, kind: 'forbidden' },
  { pattern: /\(Unauthorized\)|You must be logged in|asked for the client to provide credentials/, kind: 'unauthorized' },
  { pattern: /\(AlreadyExists\)/, kind: 'exists' },
  { pattern: /\(Conflict\)/, kind: 'conflict' },
  { pattern: /have a resource type|no matches for kind|could not find the requested resource/, kind: 'unknown-kind' },
  { pattern: /\(NotFound\)|no matching resources found/, kind: 'not-found' },
  { pattern: /timed out waiting for the condition/, kind: 'timeout' },
  {
    pattern: /error loading config file|[Ii]nvalid configuration|Error in configuration|stat \S+: no such file or directory/,
    kind: 'config',
  },
  {
    pattern: /Unable to connect to the server|The connection to the server \S+ was refused|\(ServiceUnavailable\)|connection refused/,
    kind: 'unreachable',
  },
]

const CODES: Readonly<Record<KubectlFailureKind, ErrorCode>> = {
  missing: 'NOT_FOUND',
  config: 'INVALID_CONFIG',
  unreachable: 'NOT_READY',
  unauthorized: 'PERMISSION_DENIED',
  forbidden: 'PERMISSION_DENIED',
  'not-found': 'NOT_FOUND',
  'unknown-kind': 'NOT_FOUND',
  exists: 'ALREADY_EXISTS',
  conflict: 'IO_FAILURE',
  timeout: 'DEADLINE_EXCEEDED',
  failed: 'IO_FAILURE',
}

const HINTS: Readonly<Partial<Record<KubectlFailureKind, string>>> = {
  missing: 'Install kubectl, or name it with --kubectl.',
  config: 'Name the file with --kubeconfig or KUBECONFIG, and one of its contexts with --context.',
  unreachable: 'Is this the right cluster, and does its API server run? See --kubeconfig and --context.',
  unauthorized: 'Renew the credentials of the kubeconfig, or name another with --kubeconfig or --context.',
  forbidden: 'Give this user the right that the message names, or use another with --kubeconfig or --context.',
  'not-found': 'See "kubectl get" for what there is in this namespace, and whether --context names the right cluster.',
  'unknown-kind': 'Is Cilium installed in this cluster? Its operator makes the kinds of cilium.io.',
  exists: 'Delete the object first, or choose another name.',
  conflict: 'Call it again: it works on what is there now.',
  timeout: 'See "kubectl describe" and "kubectl get events" for what it waited for.',
}

/** What a {@link KubectlError} says besides its message. */
export interface KubectlFailure {
  /** How it failed. */
  readonly kind: KubectlFailureKind
  /** What kubectl said, without its log. */
  readonly text?: string
  /** Exit code; undefined where it did not come to one. */
  readonly exitCode?: number
  /** What led to it. */
  readonly cause?: unknown
}

/** A call of kubectl that failed. The code follows from the kind, and so does the remedy. */
export class KubectlError extends OffloadError {
  /** How it failed. */
  readonly kind: KubectlFailureKind
  /** What kubectl said; empty if nothing. */
  readonly text: string
  /** Exit code; undefined where it did not come to one. */
  readonly exitCode: number | undefined

  /** @param message - what was called and what came of it */
  constructor(message: string, { kind, text = '', exitCode, cause }: KubectlFailure) {
    const hint = HINTS[kind]
    super(CODES[kind], message, { cause, ...(hint === undefined ? {} : { hint }) })
    this.kind = kind
    this.text = text
    this.exitCode = exitCode
  }
}

/** The error for a call that ended with another exit code than 0. @param what - the call @param stderr - as it came */
export function exitError(what: string, exitCode: number, stderr: string): KubectlError {
  const text = withoutLog(stderr)
  const kind = RULES.find(({ pattern }) => pattern.test(text))?.kind ?? 'failed'
  return new KubectlError(`${what}: ${text === '' ? `exit code ${exitCode}` : text}`, { kind, text, exitCode })
}

/** What kubectl says to people: the lines of its libraries' log, each retry on its own, come before it. */
function withoutLog(stderr: string): string {
  const lines = stderr.trim().split('\n')
  const said = lines.filter((line) => !/^[EWI]\d{4} \d\d:\d\d:\d\d\./.test(line)).join('\n')
  return (said === '' ? stderr.trim() : said).slice(-1024)
}
