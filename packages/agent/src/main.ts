#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { causeMessages, OffloadError } from '@cni-offload/sdk'
import { announceReady } from '@cni-offload/sdk/runtime'
import { createAgent } from './agent.ts'
import { agentOptions, readAgentConfig } from './config/load.ts'

const USAGE = `usage: offload-agent --config FILE

Serves offload.v1 for the host of this node and drives CNI adapters on its DPU.

  --config FILE   configuration, YAML
  --help          this text

SIGTERM or SIGINT lets running calls end and stops; a second one stops at once.
Attachments stay in either case: pods keep their network.
If OFFLOAD_READY_FD names a descriptor, one line is written to it when calls are served.
`

const usageError = (text: string): OffloadError => new OffloadError('INVALID_CONFIG', text, { hint: 'Try offload-agent --help.' })

const configFile = (argv: string[]): string | undefined => {
  try {
    const { values } = parseArgs({ args: argv, options: { config: { type: 'string' }, help: { type: 'boolean' } } })
    if (values.help === true) return undefined
    if (values.config === undefined) throw usageError('--config FILE is missing')
    return values.config
  } catch (error) {
    throw OffloadError.is(error) ? error : usageError(error instanceof Error ? error.message : String(error))
  }
}

const main = async (argv: string[]): Promise<void> => {
  const file = configFile(argv)
  if (file === undefined) {
    process.stdout.write(USAGE)
    return
  }
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      // The journal makes an exit at any instruction safe; the next start undoes what was half done.
      if (stop.signal.aborted) process.exit(1)
      stop.abort(new OffloadError('CANCELLED', `the agent was told to stop (${name})`))
    })
  const agent = createAgent(await agentOptions(await readAgentConfig(file), file))
  const running = agent.run(stop.signal)
  void agent.listening.then(
    () => announceReady(),
    () => {},
  )
  await running
}

try {
  await main(process.argv.slice(2))
  // A plugin that leaves a timer or socket behind must not keep a stopped agent alive.
  process.exit(0)
} catch (error) {
  const failure = OffloadError.from(error)
  const lines = [
    `offload-agent: ${failure.message}`,
    ...causeMessages(failure).map((text) => `  because: ${text}`),
    ...(failure.hint === undefined ? [] : [`  ${failure.hint}`]),
  ]
  process.stderr.write(`${lines.join('\n')}\n`)
  process.exit(failure.code === 'INVALID_CONFIG' ? 2 : 1)
}
