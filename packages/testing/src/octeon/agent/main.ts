#!/usr/bin/env node
/**
 * The program that stands for `octep_cp_agent`: arguments, streams, exit codes and signals of the real one. Environment:
 * `FAKE_OCTEP_CARD` socket of the card, `FAKE_OCTEP_GENERATION` gen0 to gen3, `FAKE_OCTEP_MODE` what goes wrong, `FAKE_OCTEP_ARGV0`
 * name under which it was started.
 */
import { parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import { AGENT_GENERATIONS } from './arguments.ts'
import { AGENT_MODES, FakeAgent } from './fake-agent.ts'

const environment = z.object({
  FAKE_OCTEP_CARD: z.string().min(1).optional(),
  FAKE_OCTEP_GENERATION: z.enum(AGENT_GENERATIONS).default('gen3'),
  FAKE_OCTEP_MODE: z.enum(AGENT_MODES).default('ok'),
  FAKE_OCTEP_ARGV0: z.string().default('octep_cp_agent'),
})

const env = parseWith(environment, process.env, 'environment of the fake octep_cp_agent', 'INVALID_ENVIRONMENT')
const agent = new FakeAgent({
  argv0: env.FAKE_OCTEP_ARGV0,
  argv: process.argv.slice(2),
  generation: env.FAKE_OCTEP_GENERATION,
  mode: env.FAKE_OCTEP_MODE,
  card: env.FAKE_OCTEP_CARD,
})
process.exit(await agent.run())
