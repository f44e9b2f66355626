/**
 * Chips that the control agent brings a configuration for, and how it calls that file. The agent reads any file; the names are what its
 * documentation and scripts expect to find.
 */
export const AGENT_CHIPS = {
  CN106xx: 'cn106xx.cfg',
  CN103xx: 'cn103-102.cfg',
  CNF105xx: 'cnf105xx.cfg',
  CNF105xxN: 'cn105n.cfg',
  CN98xx: 'cn98xx.cfg',
  CN96xx: 'cn96xx.cfg',
  CN95xxN: 'cn95n.cfg',
  CNF95O: 'f95o.cfg',
} as const

/** A chip that the control agent can be configured for. */
export type AgentChip = keyof typeof AGENT_CHIPS

/** Whether a text names such a chip. */
export function isAgentChip(text: string): text is AgentChip {
  return Object.hasOwn(AGENT_CHIPS, text)
}
