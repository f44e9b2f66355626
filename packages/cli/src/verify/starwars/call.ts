import type { Kubectl } from '../../kubectl/kubectl.ts'

/** A call of the deathstar's API from a ship. */
export interface ShipCall {
  /** Namespace of the ship. */
  readonly namespace: string
  /** Pod that calls. */
  readonly from: 'tiefighter' | 'xwing'
  /** HTTP method. */
  readonly method: 'POST' | 'PUT'
  /** Name or address of whom it calls; IPv6 without brackets. */
  readonly host: string
  /** Path. */
  readonly path: string
}

/** What came of a call. */
export type ShipAnswer =
  | { readonly kind: 'answer'; readonly status: number; readonly body: string }
  /** Nothing came: packets were dropped. */
  | { readonly kind: 'timeout' }
  | { readonly kind: 'error'; readonly exitCode: number; readonly text: string }

/** How long a ship waits, seconds. A policy drops packets, so that this is what a refusal takes. */
const WAIT_S = 10

/** Longest that kubectl may take for a call, milliseconds. */
const EXEC_MS = 45_000

/** Exit code of curl when nothing came in time. */
const TIMED_OUT = 28

/** What curl says when it was the name service that did not answer: nobody has refused the call itself. */
const NO_NAME = /resolv/i

/** Calls the deathstar's API by curl in the ship. @throws KubectlError when the ship could not be made to call */
export async function callDeathstar(kubectl: Kubectl, call: ShipCall, signal: AbortSignal): Promise<ShipAnswer> {
  const { namespace, from, method, host, path } = call
  const url = `http://${host.includes(':') ? `[${host}]` : host}${path}`
  const argv = ['curl', '-sS', '-X', method, '--connect-timeout', `${WAIT_S}`, '-m', `${WAIT_S}`, '-w', '\\n%{http_code}', url]
  const { exitCode, stdout, stderr } = await kubectl.exec({ namespace, pod: from }, argv, signal, EXEC_MS)
  if (exitCode === TIMED_OUT && !NO_NAME.test(stderr)) return { kind: 'timeout' }
  if (exitCode !== 0) return { kind: 'error', exitCode, text: stderr }
  const end = stdout.trimEnd().lastIndexOf('\n')
  return { kind: 'answer', status: Number(stdout.slice(end + 1)), body: stdout.slice(0, Math.max(0, end)).trim() }
}

/** An answer in a few words. */
export function answerText(answer: ShipAnswer): string {
  if (answer.kind === 'timeout') return `no answer (curl ${TIMED_OUT})`
  if (answer.kind === 'error') return `curl ${answer.exitCode}: ${firstLine(answer.text)}`
  return `${answer.status} ${firstLine(answer.body)}`
}

const firstLine = (text: string): string => (text.trim().split('\n', 1)[0] ?? '').slice(0, 80)
