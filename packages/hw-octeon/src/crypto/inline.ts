import type { CptSilicon } from './stepping.ts'

/** One try to give an association to a network interface. */
export interface InlineTrial {
  /** The whole packet, or its encryption only. */
  readonly mode: 'packet' | 'crypto'
  /** What it sends, or what it receives. */
  readonly direction: 'out' | 'in'
  /** Whether kernel and driver have taken it. */
  readonly accepted: boolean
  /** What they said where they have not. */
  readonly reason: string
}

/** What can be said of inline IPsec. It is `untried` where nothing speaks against it: no table replaces the try. */
export interface InlineCapability {
  /** Whether an interface takes associations. */
  readonly answer: 'no' | 'untried' | 'outbound-crypto' | 'packet'
  /** Why. */
  readonly because: string
}

/** First release whose driver of the ports takes associations at all. */
const FIRST_KERNEL: readonly [number, number] = [6, 14]

const untriable = (because: string): InlineCapability => ({ answer: 'no', because })

/**
 * What a card and its kernel can do inline, as far as it is shown.
 *
 * @param release - of the kernel, `6.1.67-…`
 * @param trials - what was tried; nothing by default
 */
export function inlineCapability(silicon: CptSilicon, release: string, trials: readonly InlineTrial[] = []): InlineCapability {
  const accepted = (mode: InlineTrial['mode'], direction: InlineTrial['direction']): boolean =>
    trials.some((trial) => trial.accepted && trial.mode === mode && trial.direction === direction)
  // What was taken is taken, whatever is known of the silicon.
  if (accepted('packet', 'out') && accepted('packet', 'in'))
    return { answer: 'packet', because: 'whole packets were taken in both directions' }
  if (accepted('crypto', 'out') || accepted('packet', 'out'))
    return { answer: 'outbound-crypto', because: `only what is sent was taken: ${refusals(trials)}` }
  if (trials.length > 0) return untriable(`the kernel refuses: ${refusals(trials)}`)
  const of = silicon.name
  if (silicon.family === 'CN9K' || silicon.early) return untriable(`${of} has none: the driver wants CN106xx B0 or CN103xx`)
  if (!isAtLeast(release, FIRST_KERNEL)) return untriable(`kernel ${release} has none: the driver has it from ${FIRST_KERNEL.join('.')} on`)
  return { answer: 'untried', because: `${of} with kernel ${release} may take some, which only a try shows` }
}

const refusals = (trials: readonly InlineTrial[]): string =>
  trials
    .filter(({ accepted }) => !accepted)
    .map(({ mode, direction, reason }) => `${mode} ${direction}: ${reason}`)
    .join('; ')

function isAtLeast(release: string, [major, minor]: readonly [number, number]): boolean {
  const [, a = '0', b = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? []
  return Number(a) > major || (Number(a) === major && Number(b) >= minor)
}
