import { Command } from 'commander'
import { cfgCommand } from '../octeon/cfg.ts'
import { inventoryCommand } from '../octeon/inventory.ts'
import { setupCommand } from '../octeon/setup.ts'
import { unitCommand } from '../octeon/unit.ts'

/** `offload octeon …`: a Marvell OCTEON, before and beside the daemons. */
export function octeonCommand(): Command {
  return new Command('octeon')
    .description('Marvell OCTEON: its control agent and its set-up')
    .addCommand(inventoryCommand())
    .addCommand(setupCommand())
    .addCommand(cfgCommand())
    .addCommand(unitCommand())
}
