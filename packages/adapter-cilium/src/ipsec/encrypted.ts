import { keysOf, modeOf, type Sample, sequenceOf } from './sample.ts'

/** An answer, and what it rests on. */
export interface Verdict<A extends string> {
  /** The answer. */
  readonly answer: A
  /** Why it is not another one, as a sentence without its end. */
  readonly because: string
}

/** Whether traffic to other nodes is encrypted; `partly` where some nodes do it and others do not. */
export type Encrypted = 'yes' | 'no' | 'partly' | 'unknown'

/**
 * Whether a node encrypts, as far as it is shown.
 *
 * @param before - of the same node, a while ago; without it, what was sent at any time counts
 */
export function encryptedVerdict(now: Sample, before?: Sample): Verdict<'yes' | 'no' | 'unknown'> {
  const [mode, keys, sent, sentBefore] = [modeOf(now), keysOf(now), sequenceOf(now), before && sequenceOf(before)]
  const grew = sent !== undefined && sentBefore !== undefined && sent > sentBefore
  const unknown = (because: string): Verdict<'unknown'> => ({ answer: 'unknown', because })
  const no = (because: string): Verdict<'no'> => ({ answer: 'no', because })

  if (now.modes.length > 0 && mode === undefined)
    return unknown(`the sources differ: ${now.modes.map(({ value, from }) => `${value} by ${from}`).join(', ')}`)
  if (mode === 'Disabled') return grew ? unknown('the agent has no encryption, but the kernel encrypts') : no('the agent has no encryption')
  if (mode !== undefined && mode !== 'IPsec') return unknown(`the encryption mode is ${mode}, of which nothing else is read here`)
  if (keys === undefined) return unknown(mode === undefined ? 'nothing was read' : 'the mode alone does not show that keys are in use')
  if (keys === 0)
    return mode === undefined ? unknown('no key is seen, but no agent says that this is where its keys would be') : no('no key is in use')
  if (sent === undefined) return unknown('keys are in use, but what was sent with them was not read')
  if (before === undefined) {
    if (sent === 0n) return unknown('keys are in use, but nothing was sent with them yet')
    if (mode === undefined) return unknown('keys were used, but the agent does not say that it encrypts')
    return { answer: 'yes', because: 'keys are in use, and packets were sent with them' }
  }
  if (sentBefore === undefined) return unknown('what was sent before was not read')
  if (grew) return { answer: 'yes', because: 'packets were encrypted in between' }
  return unknown(sent < sentBefore ? 'keys were replaced in between: look again' : 'keys are in use, but nothing was sent in between')
}
