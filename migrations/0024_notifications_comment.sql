-- Apart from 0023, which locks discussions: those who delete a comment lock comments first.
alter table notifications
    add constraint notifications_comment foreign key (discussion_id, comment_id) references comments (discussion_id, id) on delete cascade;
