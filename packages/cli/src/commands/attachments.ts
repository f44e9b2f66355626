import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { createOffloadClient } from '@cni-offload/protocol'
import { parseWith } from '@cni-offload/sdk'
import { parse } from 'yaml'
import { z } from 'zod'

const hostConfig = z.object({
  node: z.string(),
  agent: z.object({ address: z.string(), tls: z.object({ ca: z.string(), cert: z.string(), key: z.string() }) }),
})

/** `offload attachments`: what the agent holds, asked with the host daemon's own certificate. */
export function attachmentsCommand(): Command {
  return new Command('attachments')
    .description('list the attachments that the agent of this host holds, as JSON')
    .option('--config <file>', "the host daemon's configuration", '/etc/cni-offload/host.yaml')
    .action(async (options: { config: string }) => {
      const config = parseWith(hostConfig, parse(await readFile(options.config, 'utf8')), options.config, 'INVALID_CONFIG')
      await using client = createOffloadClient({ ...config.agent, node: config.node })
      const attachments = await client.list({ signal: AbortSignal.timeout(10_000), requestId: randomUUID() })
      process.stdout.write(`${JSON.stringify(attachments, null, 2)}\n`)
    })
}
