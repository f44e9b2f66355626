#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { causeMessages, OffloadError } from '@cni-offload/sdk'
import { announceReady } from '@cni-offload/sdk/runtime'
import { hostOptions, readHostConfig } from './config/load.ts'
import { createHost } from './host.ts'

const USAGE = `usage: offload-host --config FILE

Answers the CNI calls of this node and gives pods VFs that are connected on the DPU.

  --config FILE   configuration, YAML
  --help          this text

SIGTERM or SIGINT lets running calls end and stops; a second one stops at once.
Attachments stay in either case: pods keep their network.
If OFFLOAD_READY_FD names a descriptor, one line is written to it when calls are answered.
`

const usageError = (text: string): OffloadError => new OffloadError('INVALID_CONFIG', text, { hint: 'Try offload-host --help.' })

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
      stop.abort(new OffloadError('CANCELLED', `the host daemon was told to stop (${name})`))
    })
  const host = createHost(await hostOptions(await readHostConfig(file), file))
  const running = host.run(stop.signal)
  void host.listening.then(
    () => announceReady(),
    () => {},
  )
  await running
}

try {
  await main(process.argv.slice(2))
  // A plugin that leaves a timer or socket behind must not keep a stopped daemon alive.
  process.exit(0)
} catch (error) {
  const failure = OffloadError.from(error)
  const lines = [
    `offload-host: ${failure.message}`,
    ...causeMessages(failure).map((text) => `  because: ${text}`),
    ...(failure.hint === undefined ? [] : [`  ${failure.hint}`]),
  ]
  process.stderr.write(`${lines.join('\n')}\n`)
  process.exit(failure.code === 'INVALID_CONFIG' ? 2 : 1)
}
